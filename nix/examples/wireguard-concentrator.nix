# A WireGuard concentrator: many peers behind NAT, tunnels that must not be cut, flows through them.
{
  networking.wireguard.interfaces.wg0 = {
    ips = [ "10.100.0.1/16" ];
    listenPort = 51820;
    privateKeyFile = "/var/lib/wireguard/private.key";
  };
  networking.firewall.allowedUDPPorts = [ 51820 ];

  services.conntidy = {
    enable = true;
    # A few hundred thousand entries at most, and nothing is urgent.
    reconcile.interval = "5min";

    settings = {
      limits = {
        delete = "20%";
        expire = "30%";
      };

      table = {
        max = "256k";
        buckets = "auto";
      };

      timeouts = {
        tcp.established = "12h";
        # Keepalives come every 25 s; a roaming peer may miss some.
        udp.unreplied = "1m";
        udp.stream = "5m";
      };

      sysctl.nf_conntrack_acct = true;

      rules.closed = {
        description = "Closed connections only take up room";
        match = {
          protocol = "tcp";
          state = [
            "TIME_WAIT"
            "CLOSE"
          ];
          idle-for = "5s";
        };
        action = "delete";
        budget = {
          count = 10000;
          percent = 20;
        };
      };

      rules.dead-peers = {
        description = "WireGuard flows that nobody ever answered: counted, since a roaming peer looks the same";
        match = {
          protocol = "udp";
          dport = 51820;
          status = "unreplied";
          idle-for = "30s";
        };
        action = "report";
      };

      protect.tunnels = {
        description = "Tunnels that work";
        match = {
          protocol = "udp";
          port = 51820;
          status = "assured";
        };
      };

      protect.ssh.match = {
        protocol = "tcp";
        dport = 22;
      };
    };
  };
}
