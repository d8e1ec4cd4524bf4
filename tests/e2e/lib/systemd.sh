# shellcheck shell=bash
# What systemd says of units and of the boot.

# Waits for the end of the boot.
booted() {
    local state
    state=$(timeout 120 systemctl is-system-running --wait) || :
    case $state in
        running) ok "systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p') booted, every unit well, Linux $(uname -r)" ;;
        *) failed "boot: $state; $(systemctl --failed --plain --no-legend | xargs)" ;;
    esac
}

# nspawn gives a container a boot id of its own by a mount. In the new /proc that systemd 252 makes for a sandbox the
# kernel's shows again, so a unit and a shell would each take what the other keeps for that of another boot.
share_boot_id() {
    local file=/proc/sys/kernel/random/boot_id
    [ "$(cat $file)" = "$(systemd-run --quiet --wait --pipe --property=ProtectProc=invisible cat $file)" ] || umount $file
}

# property UNIT NAME
property() { systemctl show --property="$2" --value "$1"; }

# when UNIT NAME: a timestamp in microseconds since the machine's start
when() { property "$1" "$2Monotonic"; }

# key NAME: the value of net.netfilter.NAME
key() { sysctl -n "net.netfilter.$1"; }

# said UNIT PATTERN: does the unit's journal hold it?
said() { journalctl --no-pager --output=cat --unit="$1" | grep -E "$2"; }
