# What needs no kernel of its own: timeouts and rules in another network namespace than the initial one.
module: {
  name = "conntidy-container";

  containers.machine =
    { pkgs, ... }:
    {
      imports = [ module ];
      environment.systemPackages = [ pkgs.conntrack-tools ];
      services.conntidy = {
        enable = true;
        reconcile = {
          interval = "2s";
          accuracy = "10ms";
          randomizedDelay = "0";
        };
        settings = {
          run = {
            every = "1s";
            boot-grace = "0s";
          };
          timeouts.tcp.time-wait = 31;
          rules.closed = {
            match = {
              protocol = "tcp";
              state = "TIME_WAIT";
            };
            action = "delete";
            budget.percent = 100;
          };
          protect.ssh.match = {
            protocol = "tcp";
            dport = 22;
          };
        };
      };
    };

  testScript = ''
    machine.wait_for_unit("multi-user.target")
    machine.succeed("grep -qx 31 /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait")

    def entry(port):
        machine.succeed(f"conntrack -I -p tcp -s 10.9.0.1 -d 10.9.0.2 --sport 4000 --dport {port} --state TIME_WAIT -t 3000")

    entry(80)
    entry(22)
    machine.wait_until_fails("conntrack -L -p tcp --dport 80 2>/dev/null | grep -q TIME_WAIT", timeout=30)
    machine.succeed("conntrack -L -p tcp --dport 22 2>/dev/null | grep -q TIME_WAIT")
  '';
}
