# shellcheck shell=bash
# The timer at a test's pace. In `prepare`: timer_every_second ROOT

timer_every_second() {
    local root=$1 unit
    for unit in conntidy-reconcile conntidy@; do
        mkdir -p "$root/etc/systemd/system/$unit.timer.d" "$root/etc/systemd/system/$unit.service.d"
        cat >"$root/etc/systemd/system/$unit.timer.d/pace.conf" <<'UNIT'
[Timer]
OnActiveSec=
OnUnitInactiveSec=
OnActiveSec=1s
OnUnitInactiveSec=1s
AccuracySec=10ms
RandomizedDelaySec=0
UNIT
        # Rounds are counted by what systemd says of them, which the units keep out of the journal.
        printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nLogLevelMax=debug\n' >"$root/etc/systemd/system/$unit.service.d/pace.conf"
    done
}

# ended UNIT STATUS: the unit's last run ended so, and none is at work
ended() {
    local said
    said=$(systemctl show --property=ActiveState,ExecMainStatus "$1")
    ! grep -qx ActiveState=activating <<<"$said" && grep -qx "ExecMainStatus=$2" <<<"$said"
}

# rounds UNIT: how often it ran to its end
rounds() { journalctl --no-pager --unit "$1" --output=cat | grep -cE '^(Finished|.*: Failed with result)' || :; }

# after_rounds UNIT COUNT: waits until it ran so many times more
after_rounds() {
    local goal=$(($(rounds "$1") + $2))
    for _ in {1..300}; do
        [ "$(rounds "$1")" -lt "$goal" ] || return 0
        sleep 0.2
    done
    failed "$1 does not run any more"
}
