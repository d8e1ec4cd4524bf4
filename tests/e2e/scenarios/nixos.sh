# shellcheck shell=bash
# The units and policies that the NixOS module renders for its NAT router run as declared
# Runs in: box

# What nix/tests/ci.sh holds to be the module's: no Nix is needed here.
RENDERED=../../nix/tests/rendered

prepare() {
    local root=$1 units=$1/etc/systemd/system unit
    mkdir -p "$units" "$root/etc/nixos-policy" "$root/etc/udev/rules.d" "$root/etc/tmpfiles.d"
    for unit in "$RENDERED"/*.service "$RENDERED"/*.timer; do
        sed 's|@conntidy@|/usr|; s|@policy@|/etc/nixos-policy|' "$unit" >"$units/$(basename "$unit")"
    done
    while read -r unit; do
        mkdir -p "$units/$(dirname "$unit")"
        ln -sf "../$(basename "$unit")" "$units/$unit"
    done <"$RENDERED/wants"
    cp "$RENDERED"/*.toml "$root/etc/nixos-policy/"
    cp "$RENDERED/udev" "$root/etc/udev/rules.d/90-conntidy-nixos.rules"
    cp "$RENDERED/tmpfiles" "$root/etc/tmpfiles.d/conntidy-nixos.conf"
    # At a test's pace.
    for unit in conntidy-reconcile conntidy-netns-guests; do
        mkdir -p "$units/$unit.timer.d"
        cat >"$units/$unit.timer.d/pace.conf" <<'UNIT'
[Timer]
OnActiveSec=
OnUnitInactiveSec=
OnActiveSec=1s
OnUnitInactiveSec=1s
AccuracySec=10ms
RandomizedDelaySec=0
UNIT
    done
}

is() { [ "$(key "$1")" = "$2" ]; }
is_in_guests() { [ "$(ip netns exec guests sysctl -n "net.netfilter.$1")" = "$2" ]; }
runs_of() { property "$1" InvocationID; }

scenario() {
    equal "the boot's unit is the module's" "/etc/systemd/system/conntidy.service" property conntidy.service FragmentPath
    equal "the boot's unit" active property conntidy.service ActiveState
    equal "the boot applied the policy" 30 key nf_conntrack_tcp_timeout_time_wait
    equal "it ran as" conntidy property conntidy-reconcile.service User

    sysctl --quiet --write net.netfilter.nf_conntrack_udp_timeout=99
    eventually 10 "the timer puts a drifted key back" is nf_conntrack_udp_timeout 30

    equal "a namespace that is not there fails nothing" success property conntidy-netns-guests.service Result
    ip netns add guests
    eventually 10 "once there, it has a policy of its own" is_in_guests nf_conntrack_udp_timeout 20
    equal "which is not the host's" 30 key nf_conntrack_udp_timeout

    # What a switch to another policy does: units are read anew, the boot's unit and changed timers are restarted, no other.
    # At the declared pace, so that what is due by itself does not come in between.
    rm /etc/systemd/system/conntidy-reconcile.timer.d/pace.conf
    systemctl stop conntidy-reconcile.timer
    while systemctl --quiet is-active conntidy-reconcile.service; do sleep 0.1; done
    sed -i 's/"time-wait" = "30s"/"time-wait" = "31s"/' /etc/nixos-policy/policy.toml
    local before
    before=$(runs_of conntidy-reconcile.service)
    systemctl daemon-reload
    systemctl restart conntidy.service
    equal "a switch applies a changed policy" 31 key nf_conntrack_tcp_timeout_time_wait
    systemctl start conntidy-reconcile.timer
    sleep 2
    equal "and starting the timer again runs nothing at once" "$before" runs_of conntidy-reconcile.service

    equal "operators may read snapshots" "750 conntidy conntidy" stat --format='%a %U %G' /var/lib/conntidy/snapshots
}
