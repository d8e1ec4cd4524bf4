# What needs a kernel of its own: table size, module loading, a switch of the configuration.
module: {
  name = "conntidy-vm";

  nodes.machine =
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
          table.max = 100000;
          timeouts.tcp.time-wait = 31;
        };
      };
      specialisation.longer.configuration.services.conntidy.settings.timeouts.icmp = 11;
    };

  testScript = ''
    def key(name):
        return machine.succeed(f"cat /proc/sys/net/netfilter/nf_conntrack_{name}").strip()

    machine.wait_for_unit("multi-user.target")

    with subtest("the boot applies the policy"):
        machine.require_unit_state("conntidy.service", "active")
        assert int(key("max")) >= 100000
        assert key("tcp_timeout_time_wait") == "31"

    with subtest("the timer puts a drifted key back"):
        machine.succeed("echo 90 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait")
        machine.wait_until_succeeds("grep -qx 31 /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait", timeout=30)

    with subtest("values come back when the module does"):
        machine.succeed("systemctl stop firewall.service conntidy-reconcile.timer")
        machine.succeed("modprobe -r nf_conntrack_netlink xt_conntrack nf_conntrack 2>/dev/null || true")
        if machine.execute("test -e /proc/sys/net/netfilter/nf_conntrack_max")[0] != 0:
            machine.succeed("modprobe nf_conntrack")
            machine.wait_until_succeeds("grep -qx 31 /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait", timeout=30)
        machine.succeed("systemctl start conntidy-reconcile.timer")

    with subtest("dry-activate prints the plan and changes nothing"):
        system = "/run/booted-system/specialisation/longer"
        said = machine.succeed(f"{system}/bin/switch-to-configuration dry-activate 2>&1")
        assert "nf_conntrack_icmp_timeout" in said, said
        assert key("icmp_timeout") == "30"

    with subtest("a switch applies a changed policy"):
        machine.succeed(f"{system}/bin/switch-to-configuration test")
        assert key("icmp_timeout") == "11"
  '';
}
