# shellcheck shell=bash
# The Debian package: installed, upgraded, removed, installed again, purged under a running systemd
# Runs in: bare

UNITS="conntidy.service conntidy-module.service conntidy-reconcile.timer"

tunables() { sysctl --all --pattern '^net\.netfilter\.' 2>/dev/null | grep -v conntrack_count; }
package_is() { [ "$(dpkg-query --show --showformat='${db:Status-Status}' conntidy 2>/dev/null)" = "$1" ]; }
enabled() { for unit in $UNITS; do systemctl is-enabled --quiet "$unit" || return; done; }
gone() { ! systemctl cat "$1" >/dev/null 2>&1; }
state() { find /var/lib/conntidy -name state.json; }
bring() { DEBIAN_FRONTEND=noninteractive dpkg --install "$1" </dev/null; }

scenario() {
    local before started policy=/etc/conntidy/policy.toml
    before=$(tunables)
    expect "it is installed" bring old.deb
    expect "the program runs" conntidy --version
    expect "units are enabled" enabled
    expect "the timer waits" systemctl is-active conntidy-reconcile.timer
    equal "the policy as shipped was applied" success property conntidy.service Result
    expect "and changed nothing" test "$before" = "$(tunables)"
    expect "the service's user is there" getent passwd conntidy
    expect "manual pages are there" test -e /usr/share/man/man1/conntidy.1.gz -a -e /usr/share/man/man5/conntidy-policy.5.gz
    expect "and completions" bash -n /usr/share/bash-completion/completions/conntidy
    expect "no unit failed" systemctl is-system-running

    printf '\n[timeouts]\nudp.unreplied = "25s"\n' >>"$policy"
    systemctl start conntidy-reconcile.service
    equal "an edited policy is applied by the next run" 25 key nf_conntrack_udp_timeout
    expect "which keeps a state" test -s "$(state)"

    systemctl disable --quiet --now conntidy-reconcile.timer
    started=$(when conntidy.service ExecMainStartTimestamp)
    expect "it is upgraded" bring new.deb
    expect "the edited policy stays" grep -q 25s "$policy"
    equal "what was disabled stays so" disabled systemctl is-enabled conntidy-reconcile.timer
    equal "the boot's unit is not run again" "$started" when conntidy.service ExecMainStartTimestamp
    expect "the state stays" test -s "$(state)"
    systemctl enable --quiet --now conntidy-reconcile.timer

    expect "it is removed" dpkg --remove conntidy
    expect "the program is gone" test ! -e /usr/bin/conntidy
    expect "units are gone" gone conntidy-reconcile.service
    expect "nothing waits" sh -c '! systemctl list-timers | grep conntidy'
    expect "the state stays" test -s "$(state)"
    expect "the policy stays" test -e "$policy"
    equal "tunables stay" 25 key nf_conntrack_udp_timeout

    expect "it is installed again" bring new.deb
    expect "units are enabled" enabled
    expect "the timer waits" systemctl is-active conntidy-reconcile.timer
    expect "the edited policy is valid still" conntidy check

    expect "it is purged" dpkg --purge conntidy
    expect "dpkg knows nothing of it" sh -c '! dpkg-query --show conntidy 2>/dev/null | grep .'
    expect "the state is gone" test ! -e /var/lib/conntidy
    expect "the policy is gone" test ! -e /etc/conntidy
    equal "no unit or mask is left" '' find /etc/systemd /usr/lib/systemd -name 'conntidy*'
    expect "no unit failed" systemctl is-system-running
}
