# The services and timers: those of systemd/ in the source, with the policy's store path in them.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:

let
  cfg = config.services.conntidy;
  policy = import ./policy.nix {
    inherit lib pkgs;
    inherit (cfg) package;
  };
  hardening = import ./hardening.nix;

  policyFile = settings: (if cfg.checkPolicy then policy.checked else lib.id) (policy.file settings);

  apply =
    how: settings:
    utils.escapeSystemdExecArgs [
      (lib.getExe cfg.package)
      "apply"
      how
      "--policy"
      (toString (policyFile settings))
    ];

  # Snapshots may be kept elsewhere than in the state directory.
  isElsewhere = directory: directory != null && !lib.hasPrefix "/var/lib/conntidy/" directory;
  elsewhere = settings: lib.filter isElsewhere [ (settings.snapshot.directory or null) ];

  service =
    settings: unit:
    {
      documentation = [
        "man:conntidy(1)"
        "man:conntidy-policy(5)"
      ];
      # No switch of the configuration starts, stops or restarts a run, unless said below.
      restartIfChanged = false;
      stopIfChanged = false;
    }
    // unit
    // {
      unitConfig = {
        ConditionCapability = "CAP_NET_ADMIN";
      }
      // unit.unitConfig or { };
      serviceConfig =
        hardening
        // {
          Type = "oneshot";
          NotifyAccess = "main";
          ReadWritePaths = hardening.ReadWritePaths ++ elsewhere settings;
        }
        // unit.serviceConfig;
    };

  # Tunables only, as early as firewalls. With the default dependencies, whatever is after network-pre.target and before
  # sysinit.target (cloud-init is) makes an ordering cycle, and systemd would resolve it by leaving this unit out.
  boot =
    unit:
    service cfg.settings (
      unit
      // {
        after = [
          "local-fs.target"
          "systemd-sysusers.service"
          "systemd-tmpfiles-setup.service"
          "systemd-modules-load.service"
          "systemd-sysctl.service"
        ]
        ++ unit.after or [ ];
        before = [ "shutdown.target" ] ++ unit.before or [ ];
        conflicts = [ "shutdown.target" ];
        unitConfig = {
          DefaultDependencies = false;
          # What crashes, or cannot be started, is tried again as well, but not for ever.
          StartLimitIntervalSec = "10min";
          StartLimitBurst = 60;
        };
        serviceConfig = {
          ExecStart = apply "--boot" cfg.settings;
          TimeoutStartSec = "60s";
          # Another run holds the lock (75): again when it is over. Nothing else will be better in five seconds.
          Restart = "on-failure";
          RestartSec = "5s";
          RestartPreventExitStatus = "1 3 4 5 64 77 78 SIGTERM SIGKILL SIGABRT";
        }
        // unit.serviceConfig or { };
      }
    );

  reconcile =
    settings: unit:
    service settings (
      unit
      // {
        serviceConfig = {
          ExecStart = apply "--due" settings;
          TimeoutStartSec = "120s";
          # Only what happened: not that systemd started this, every interval.
          LogLevelMax = "notice";
          SyslogLevel = "notice";
          # Another run holds the lock: the next interval will do.
          SuccessExitStatus = "75";
        }
        // unit.serviceConfig or { };
      }
    );

  # From the timer's own start and from the end of the last run. OnBootSec= would lie in the past when a switch starts the
  # timer, which would fire at once.
  timer = table: {
    description = "Reconcile ${table} with its policy every ${cfg.reconcile.interval}";
    documentation = [
      "man:conntidy(1)"
      "man:conntidy-policy(5)"
    ];
    wantedBy = [ "timers.target" ];
    timerConfig = {
      OnActiveSec = cfg.reconcile.interval;
      OnUnitInactiveSec = cfg.reconcile.interval;
      AccuracySec = cfg.reconcile.accuracy;
      RandomizedDelaySec = cfg.reconcile.randomizedDelay;
    };
  };

  ofNamespaces =
    make:
    lib.mapAttrs' (
      name: namespace: lib.nameValuePair "conntidy-netns-${name}" (make name namespace)
    ) cfg.namespaces;

  tableOf = name: "the connection tracking table of network namespace ${name}";
in
{
  config = lib.mkIf cfg.enable {
    systemd.services = {
      conntidy =
        boot {
          description = "Apply the connection tracking policy at boot";
          wantedBy = [ "sysinit.target" ];
          wants = [ "network-pre.target" ];
          before = [ "network-pre.target" ];
          # The store paths of policy and program are in ExecStart=, so a switch runs it again when one of them changes.
          serviceConfig.RemainAfterExit = true;
        }
        // {
          restartIfChanged = true;
        };

      # Loading the module resets every sysctl, and the boot's service is active still. The device comes and goes with it.
      conntidy-module = boot {
        description = "Apply the connection tracking policy to a newly loaded nf_conntrack";
        wantedBy = [ "sys-module-nf_conntrack.device" ];
        after = [ "conntidy.service" ];
      };
    }
    // lib.optionalAttrs cfg.reconcile.enable (
      {
        conntidy-reconcile = reconcile cfg.settings {
          description = "Reconcile the connection tracking table with its policy";
          after = [
            "conntidy.service"
            "systemd-sysctl.service"
            "network.target"
            # A firewall that is being loaded hooks, zones and NATs flows: rules judge what it made of them.
            "nftables.service"
            "firewalld.service"
            "ufw.service"
            "netfilter-persistent.service"
            "firewall.service"
            "shorewall.service"
          ];
        };
      }
      // ofNamespaces (
        name: namespace:
        reconcile namespace.settings {
          description = "Reconcile ${tableOf name} with its policy";
          after = [
            "systemd-sysctl.service"
            "network.target"
          ];
          unitConfig.ConditionPathExists = namespace.path;
          # systemd enters it, so that the program needs no CAP_SYS_ADMIN.
          serviceConfig.NetworkNamespacePath = namespace.path;
        }
      )
    );

    systemd.timers = lib.optionalAttrs cfg.reconcile.enable (
      {
        conntidy-reconcile = timer "the connection tracking table";
      }
      // ofNamespaces (name: _: timer (tableOf name))
    );

    services.udev.extraRules = ''
      ACTION!="remove", SUBSYSTEM=="module", KERNEL=="nf_conntrack", TAG+="systemd"
    '';

    boot.kernelModules = [ "nf_conntrack" ];

    users.users.conntidy = {
      isSystemUser = true;
      group = "conntidy";
      description = "Connection tracking policy";
      home = "/var/lib/conntidy";
    };
    users.groups.conntidy.members = cfg.operators;

    systemd.tmpfiles.rules = map (directory: "d ${directory} 0750 conntidy conntidy") (
      [
        "/var/lib/conntidy"
        "/var/lib/conntidy/snapshots"
      ]
      ++ lib.unique (
        lib.concatMap (one: elsewhere one.settings) ([ cfg ] ++ lib.attrValues cfg.namespaces)
      )
    );

    environment.systemPackages = [ cfg.package ];
    # For root's shell: `conntidy plan` and `conntidy apply` without --policy.
    environment.etc."conntidy/policy.toml".source = policyFile cfg.settings;

    system.activationScripts.conntidy = lib.mkIf cfg.dryActivatePlan {
      supportsDryActivation = true;
      text = ''
        if [ "''${NIXOS_ACTION-}" = dry-activate ]; then
          ${lib.getExe cfg.package} plan --policy ${policyFile cfg.settings} || true
        fi
      '';
    };
  };
}
