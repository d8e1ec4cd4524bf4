# A NAT router: a LAN behind one public address.
{
  boot.kernel.sysctl."net.ipv4.ip_forward" = 1;

  networking.nftables.enable = true;
  networking.nat = {
    enable = true;
    externalInterface = "wan0";
    internalInterfaces = [ "lan0" ];
  };

  services.conntidy = {
    enable = true;
    operators = [ "alice" ];

    settings = {
      limits = {
        delete = "30%";
        expire = "60%";
      };

      # Grows with the machine; a value that is already larger stays.
      table = {
        max = {
          per-core = "64k";
          per-gib = "64k";
          min = "128k";
          cap = "1M";
        };
        buckets = "auto";
      };

      timeouts = {
        tcp.established = "1d";
        tcp.time-wait = "30s";
        udp.unreplied = "30s";
        udp.stream = "2m";
        # Entries that exist keep their five days otherwise.
        apply-to-existing = [ "tcp.established" ];
      };

      sysctl = {
        nf_conntrack_acct = true;
        nf_conntrack_timestamp = true;
      };

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
          count = 50000;
          percent = 30;
        };
      };

      rules.idle-established = {
        description = "Half a day without a packet: shorten; a living connection re-arms with its next one";
        match = {
          protocol = "tcp";
          state = "ESTABLISHED";
          idle-for = "12h";
        };
        action = "expire";
        budget.percent = 40;
      };

      sets.management.addresses = [ "192.168.1.0/28" ];
      protect.management.match = {
        protocol = "tcp";
        address = "@management";
        dport = [
          22
          443
        ];
      };
    };

    # A second table, of the namespace that `ip netns add guests` makes.
    namespaces.guests.settings = {
      timeouts.tcp.established = "4h";
      timeouts.udp.unreplied = "20s";
      rules.idle-established = {
        match = {
          protocol = "tcp";
          state = "ESTABLISHED";
          idle-for = "1h";
        };
        action = "expire";
        grace = "2h4m";
        budget.percent = 50;
      };
    };
  };
}
