# What conntidy's services may do: CAP_NET_ADMIN in their network namespace, and nothing else. The kernel gives it
# ctnetlink and, whoever the user, the sysctls of net.*. As in systemd/*.service.
{
  User = "conntidy";
  Group = "conntidy";
  AmbientCapabilities = "CAP_NET_ADMIN";
  CapabilityBoundingSet = "CAP_NET_ADMIN";
  NoNewPrivileges = true;
  StateDirectory = "conntidy";
  StateDirectoryMode = "0750";
  UMask = "0027";
  ProtectSystem = "strict";
  ProtectHome = true;
  PrivateTmp = true;
  PrivateDevices = true;
  PrivateMounts = true;
  ProtectKernelTunables = true;
  # Not only its netfilter directory: that is absent until the module is loaded, and could not be opened up later.
  ReadWritePaths = [ "-/proc/sys/net" ];
  ReadOnlyPaths = "-/proc/sys/net/core -/proc/sys/net/ipv4 -/proc/sys/net/ipv6";
  ProtectKernelModules = true;
  ProtectKernelLogs = true;
  ProtectControlGroups = true;
  ProtectClock = true;
  ProtectHostname = true;
  ProtectProc = "invisible";
  # Never here: PrivateNetwork= (an empty table of its own), PrivateUsers= (no right to the table), ProcSubset=pid (no
  # sysctls).
  RestrictAddressFamilies = "AF_NETLINK AF_UNIX";
  IPAddressDeny = "any";
  RestrictNamespaces = true;
  RestrictRealtime = true;
  RestrictSUIDSGID = true;
  RemoveIPC = true;
  KeyringMode = "private";
  LockPersonality = true;
  MemoryDenyWriteExecute = true;
  DevicePolicy = "closed";
  SystemCallArchitectures = "native";
  SystemCallFilter = [
    "@system-service"
    "~@privileged @resources"
  ];
  SystemCallErrorNumber = "EPERM";
}
