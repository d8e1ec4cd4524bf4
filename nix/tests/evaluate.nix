# What the module makes of settings: a list of what is not as it should be, so [] is success.
arguments:

let
  harness = import ./harness.nix arguments;
  inherit (harness) lib evaluate system;

  host = settings: {
    services.conntidy = {
      enable = true;
      inherit settings;
    };
  };
  settingsOf = modules: (evaluate modules).config.services.conntidy.settings;
  warningsOf = modules: (evaluate modules).config.warnings;
  refusalsOf =
    modules:
    map (one: one.message) (lib.filter (one: !one.assertion) (evaluate modules).config.assertions);

  isRefused = value: !(builtins.tryEval (builtins.deepSeq value true)).success;
  mentions = parts: text: lib.all (part: lib.hasInfix part text) parts;
  sysctl = key: value: { boot.kernel.sysctl.${key} = value; };

  policy = import ../module/policy.nix {
    inherit lib;
    inherit (harness) pkgs;
    package = harness.pkgs.conntidy;
  };

  rule = {
    match = {
      protocol = "tcp";
      state = "TIME_WAIT";
    };
    action = "delete";
  };

  router = system [ ../examples/nat-router.nix ];
  servicesOf = modules: (evaluate modules).config.systemd.services;
  routerServices = servicesOf [ ../examples/nat-router.nix ];
  routerTimers = (evaluate [ ../examples/nat-router.nix ]).config.systemd.timers;

  tests = {
    "modules each give a field of one rule" = {
      expr =
        let
          merged =
            (settingsOf [
              (host { rules.closed = rule; })
              {
                services.conntidy.settings.rules.closed = {
                  budget.percent = 30;
                  order = 40;
                };
              }
            ]).rules.closed;
        in
        [
          merged.action
          merged.order
          merged.budget.percent
          merged.match.state
        ];
      expected = [
        "delete"
        40
        30
        "TIME_WAIT"
      ];
    };

    "modules each give a rule, members of a set, a timeout" = {
      expr =
        let
          settings = settingsOf [
            (host {
              rules.a = rule;
              sets.s.addresses = [ "10.0.0.1" ];
              timeouts.tcp.established = "1d";
            })
            (host {
              rules.b = rule;
              sets.s.addresses = [ "10.0.0.2" ];
              timeouts.tcp.time-wait = 30;
            })
          ];
        in
        [
          (lib.attrNames settings.rules)
          (lib.sort lib.lessThan settings.sets.s.addresses)
          settings.timeouts.tcp.established
          settings.timeouts.tcp.time-wait
        ];
      expected = [
        [
          "a"
          "b"
        ]
        [
          "10.0.0.1"
          "10.0.0.2"
        ]
        "1d"
        30
      ];
    };

    "a match is never merged of two" = {
      expr =
        isRefused
          (settingsOf [
            (host { rules.a = rule; })
            (host { rules.a.match.dport = 443; })
          ]).rules;
      expected = true;
    };

    "a match that is forced replaces the other whole" = {
      expr =
        lib.filterAttrs (_: value: value != null)
          (settingsOf [
            (host { rules.a = rule; })
            (host { rules.a.match = lib.mkForce { dport = 443; }; })
          ]).rules.a.match;
      expected.dport = 443;
    };

    "a key that the schema does not know is left to `conntidy check`" = {
      expr = (settingsOf [ (host { rules.a.later-key = "x"; }) ]).rules.a.later-key;
      expected = "x";
    };

    "wrong types are refused" = {
      expr = map (settings: isRefused (settingsOf [ (host settings) ])) [
        { table.max = true; }
        { table.mode = "exactly"; }
        { timeouts.tcp.established = [ "1d" ]; }
        { timeouts.tcp = "1d"; }
        { rules.a.action = "drop"; }
        { rules.a.order = "first"; }
        { rules.a.match.dport = [ ]; }
        { rules.a.match.dport = [ true ]; }
        { rules.a.match = "tcp"; }
        { sets.a.addresses = "10.0.0.1"; }
        { rules = [ rule ]; }
      ];
      expected = lib.genList (_: true) 11;
    };

    "a table of a namespace has no size" = {
      expr = refusalsOf [
        (host { })
        { services.conntidy.namespaces.red.settings.table.max = 1000; }
      ];
      expected = [
        "services.conntidy.namespaces.red.settings.table sets max: only the initial network namespace may write these. Move them to services.conntidy.settings.table."
      ];
    };

    "a name that makes no unit is refused" = {
      expr = lib.length (refusalsOf [
        (host { })
        { services.conntidy.namespaces."a b" = { }; }
      ]);
      expected = 1;
    };

    "a key in boot.kernel.sysctl too is named, with the way out" = {
      expr =
        map
          (mentions [
            "net.netfilter.nf_conntrack_max"
            "lib.mkForce null"
          ])
          (refusalsOf [
            (host { table.max = "512k"; })
            (sysctl "net.netfilter.nf_conntrack_max" 262144)
          ]);
      expected = [ true ];
    };

    "each way to write a key twice is seen" = {
      expr =
        map
          (
            case:
            lib.length (refusalsOf [
              (host case.settings)
              (sysctl case.key 1)
            ])
          )
          [
            {
              settings.table.max = 1000;
              key = "net.nf_conntrack_max";
            }
            {
              settings.table.max = 1000;
              key = "net/netfilter/nf_conntrack_max";
            }
            {
              settings.timeouts.tcp.time-wait = 30;
              key = "net.netfilter.nf_conntrack_tcp_timeout_time_wait";
            }
            {
              settings.timeouts.udp.unreplied = 30;
              key = "net.netfilter.nf_conntrack_udp_timeout";
            }
            {
              settings.timeouts.gre.stream = 30;
              key = "net.netfilter.nf_conntrack_gre_timeout_stream";
            }
            {
              settings.timeouts.icmp = {
                value = 10;
                mode = "at-most";
              };
              key = "net.netfilter.nf_conntrack_icmp_timeout";
            }
            {
              settings.sysctl.nf_conntrack_acct = true;
              key = "net.netfilter.nf_conntrack_acct";
            }
            {
              settings.table.buckets = "auto";
              key = "net.netfilter.nf_conntrack_buckets";
            }
          ];
      expected = lib.genList (_: 1) 8;
    };

    "no contradiction: forced to null, only observed, or another key" = {
      expr = [
        (refusalsOf [
          (host { table.max = 1000; })
          (sysctl "net.netfilter.nf_conntrack_max" 5)
          (sysctl "net.netfilter.nf_conntrack_max" (lib.mkForce null))
        ])
        (refusalsOf [
          (host {
            table = {
              max = 1000;
              mode = "observe";
            };
          })
          (sysctl "net.netfilter.nf_conntrack_max" 5)
        ])
        (refusalsOf [
          (host { table.max = 1000; })
          (sysctl "net.ipv4.ip_forward" 1)
        ])
      ];
      expected = [
        [ ]
        [ ]
        [ ]
      ];
    };

    "k3s is warned of with the keys that kube-proxy writes" = {
      expr =
        map
          (mentions [
            "nf_conntrack_max, nf_conntrack_tcp_timeout_established,"
            "--kube-proxy-arg=conntrack-max-per-core=0"
            "services.k3s.extraFlags"
          ])
          (warningsOf [
            (host {
              table.max = 1000;
              timeouts.tcp.established = "1d";
            })
            { services.k3s.enable = true; }
          ]);
      expected = [ true ];
    };

    "kube-proxy that is told not to, or keys of others, are no warning" = {
      expr = [
        (warningsOf [ ../examples/k3s-node.nix ])
        (warningsOf [
          (host { timeouts.icmp = 10; })
          { services.k3s.enable = true; }
        ])
        (warningsOf [
          (host { table.max = 1000; })
          {
            services.kubernetes.proxy = {
              enable = true;
              extraOpts = "--conntrack-max-per-core=0";
            };
          }
        ])
      ];
      expected = [
        [ ]
        [ ]
        [ ]
      ];
    };

    "an established timeout below 2h4m is warned of, wherever it is" = {
      expr =
        map (value: lib.length (warningsOf [ (host { timeouts.tcp.established = value; }) ])) [
          7439
          "2h3m59s"
          {
            value = "30m";
            mode = "at-most";
          }
          7440
          "2h4m"
          "1d"
          {
            value = "30m";
            mode = "observe";
          }
          "nonsense"
        ]
        ++ [
          (lib.length (warningsOf [
            (host { })
            { services.conntidy.namespaces.red.settings.timeouts.tcp.established = "1h"; }
          ]))
        ];
      expected = [
        1
        1
        1
        0
        0
        0
        0
        0
        1
      ];
    };

    "durations are those of policies" = {
      expr = map policy.seconds [
        7440
        "7440"
        "2h4m"
        "2h 4m"
        "1w"
        "5d"
        "08s"
        ""
        "2x"
        "h"
      ];
      expected = [
        7440
        7440
        7440
        7440
        604800
        432000
        8
        null
        null
        null
      ];
    };

    "rules without a timer are warned of" = {
      expr = lib.length (warningsOf [
        (host { rules.a = rule; })
        { services.conntidy.reconcile.enable = false; }
      ]);
      expected = 1;
    };

    "no timer, no reconciling" = {
      expr = lib.attrNames (servicesOf [
        (host { })
        { services.conntidy.reconcile.enable = false; }
      ]);
      expected = [
        "conntidy"
        "conntidy-module"
      ];
    };

    "what starts what" = {
      expr =
        lib.mapAttrs (_: unit: unit.wantedBy) routerServices
        // lib.mapAttrs' (name: unit: lib.nameValuePair "${name}.timer" unit.wantedBy) routerTimers;
      expected = {
        conntidy = [ "sysinit.target" ];
        conntidy-module = [ "sys-module-nf_conntrack.device" ];
        conntidy-reconcile = [ ];
        conntidy-netns-guests = [ ];
        "conntidy-reconcile.timer" = [ "timers.target" ];
        "conntidy-netns-guests.timer" = [ "timers.target" ];
      };
    };

    "a switch restarts what applies tunables, and no run of rules" = {
      expr = lib.mapAttrs (_: unit: {
        restarts = unit.restartIfChanged;
        stops = unit.stopIfChanged;
        runsRules = lib.hasInfix "\"--due\"" unit.serviceConfig.ExecStart;
      }) routerServices;
      expected = {
        conntidy = {
          restarts = true;
          stops = false;
          runsRules = false;
        };
        conntidy-module = {
          restarts = false;
          stops = false;
          runsRules = false;
        };
        conntidy-reconcile = {
          restarts = false;
          stops = false;
          runsRules = true;
        };
        conntidy-netns-guests = {
          restarts = false;
          stops = false;
          runsRules = true;
        };
      };
    };

    "no timer fires at once when a switch starts it" = {
      expr = lib.unique (
        lib.concatMap (unit: lib.attrNames unit.timerConfig) (lib.attrValues routerTimers)
      );
      expected = [
        "AccuracySec"
        "OnActiveSec"
        "OnUnitInactiveSec"
        "RandomizedDelaySec"
      ];
    };

    "the boot unit changes with the policy" = {
      expr =
        let
          command = settings: (servicesOf [ (host settings) ]).conntidy.serviceConfig.ExecStart;
        in
        [
          (command { } == command { table.max = null; })
          (command { } == command { table.max = 1000; })
        ];
      expected = [
        true
        false
      ];
    };

    "snapshots elsewhere may be written there" = {
      expr =
        let
          inherit (evaluate [ (host { snapshot.directory = "/srv/snapshots"; }) ])
            config
            ;
        in
        [
          config.systemd.services.conntidy-reconcile.serviceConfig.ReadWritePaths
          (lib.last config.systemd.tmpfiles.rules)
        ];
      expected = [
        [
          "-/proc/sys/net"
          "/srv/snapshots"
        ]
        "d /srv/snapshots 0750 conntidy conntidy"
      ];
    };

    "operators are in the group, the user is the system's" = {
      expr = [
        router.config.users.groups.conntidy.members
        router.config.users.users.conntidy.isSystemUser
      ];
      expected = [
        [ "alice" ]
        true
      ];
    };

    "dry-activate plans and never fails; a switch does nothing" = {
      expr =
        let
          script = router.config.system.activationScripts.conntidy;
        in
        [
          script.supportsDryActivation
          (mentions [
            "= dry-activate ]"
            " plan --policy "
            "|| true"
          ] script.text)
          (lib.hasInfix "apply" script.text)
        ];
      expected = [
        true
        true
        false
      ];
    };

    "the module is loaded, and seen when it is loaded again" = {
      expr = [
        router.config.boot.kernelModules
        (lib.hasInfix ''KERNEL=="nf_conntrack", TAG+="systemd"'' router.config.services.udev.extraRules)
      ];
      expected = [
        [ "nf_conntrack" ]
        true
      ];
    };

    "disabled, it sets nothing" = {
      expr =
        let
          inherit (evaluate [ { services.conntidy.settings.table.max = 1000; } ]) config;
        in
        [
          config.systemd.services
          config.environment.etc
          config.boot.kernelModules
          config.users
        ];
      expected = [
        { }
        { }
        [ ]
        { }
      ];
    };

    "the examples are without warnings and contradictions" = {
      expr = map (example: (system [ example ]).warnings) [
        ../examples/nat-router.nix
        ../examples/k3s-node.nix
        ../examples/wireguard-concentrator.nix
      ];
      expected = [
        [ ]
        [ ]
        [ ]
      ];
    };
  };
in
lib.runTests (lib.mapAttrs' (name: lib.nameValuePair "test: ${name}") tests)
