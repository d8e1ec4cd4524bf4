# shellcheck shell=bash
# A control group a box: nspawn puts its payload below its caller's, so two from the same one would share it.

# The hierarchies that systemd uses: one on a machine with cgroup2 alone, two on a hybrid one.
cgroup_hierarchies() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo /sys/fs/cgroup
    else
        echo /sys/fs/cgroup/systemd
        echo /sys/fs/cgroup/unified
    fi
}

# Moves the calling shell.
cgroup_enter() {
    local hierarchy
    for hierarchy in $(cgroup_hierarchies); do
        mkdir -p "$hierarchy/$1"
        echo 0 >"$hierarchy/$1/cgroup.procs"
    done
}

# Waits a little for processes that were just killed.
cgroup_remove() {
    local hierarchy
    for hierarchy in $(cgroup_hierarchies); do
        for _ in {1..50}; do
            [ -d "$hierarchy/$1" ] || break
            find "$hierarchy/$1" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.1
        done
    done
}

# Those of runs that were killed; a group with processes in it cannot be removed.
cgroup_remove_leftovers() {
    local hierarchy group
    for hierarchy in $(cgroup_hierarchies); do
        for group in "$hierarchy"/conntidy-e2e.*; do
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || :
        done
    done
}
