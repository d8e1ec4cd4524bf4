# A k3s node. kube-proxy sets the size of the table and two timeouts when it starts; here it is told not to.
{
  services.k3s = {
    enable = true;
    role = "server";
    extraFlags = [
      "--kube-proxy-arg=conntrack-max-per-core=0"
      "--kube-proxy-arg=conntrack-tcp-timeout-established=0s"
      "--kube-proxy-arg=conntrack-tcp-timeout-close-wait=0s"
    ];
  };

  services.conntidy = {
    enable = true;

    settings = {
      limits = {
        delete = "20%";
        expire = "50%";
      };

      table.max = {
        per-core = "32Ki";
        min = "128Ki";
        cap = "1M";
      };

      timeouts.tcp = {
        established = "1d";
        close-wait = "1h";
        time-wait = "30s";
      };

      sets.services.addresses = [
        "10.43.0.0/16"
        "fd00:43::/112"
      ];

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
          count = 20000;
          percent = 20;
        };
      };

      rules.untranslated-service-udp = {
        description = "UDP to a service that nothing translates: sent before there was a backend, lost since";
        match = {
          protocol = "udp";
          dst = "@services";
          nat = "none";
        };
        action = "delete";
        budget = {
          count = 500;
          percent = 2;
        };
      };

      protect.control-plane = {
        description = "API server, etcd, kubelet";
        match = {
          protocol = "tcp";
          port = [
            6443
            2379
            2380
            10250
          ];
        };
      };
    };
  };
}
