# shellcheck shell=bash
# A box: a container with a real systemd as its first process and a network namespace of its own, on this machine's kernel.
# NAME's files are in $SCRATCH/NAME, its root in $SCRATCH/NAME/root.

# box_make NAME LAYERS: an overlay on a root, or on layers of one
box_make() {
    local place=$SCRATCH/$1 layers=$2
    mkdir -p "$place"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=$layers,upperdir=$place/upper,workdir=$place/work" "$place/root"
}

# box_boot NAME
box_boot() {
    local name=$1 place=$SCRATCH/$1
    (
        cgroup_enter "$CONNTIDY_E2E_CGROUP/$name"
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
        # The oldest nspawn serves all: it is there in any case, and this machine may have none.
        foreign bookworm usr/bin/systemd-nspawn --quiet --directory="$place/root" --machine="$name" \
            --register=no --keep-unit --private-network --console=pipe --link-journal=no --resolv-conf=off \
            --timezone=off --boot </dev/null >"$place/console" 2>&1
    ) &
    echo $! >"$place/nspawn"
    local first
    for _ in {1..400}; do
        first=$(pgrep --parent "$(cat "$place/nspawn")" --exact systemd) && break
        sleep 0.05
    done
    echo "$first" >"$place/first"
    for _ in {1..400}; do
        ! box "$name" test -S /run/systemd/private 2>/dev/null || return 0
        sleep 0.05
    done
    echo "$name does not boot:" >&2
    tail "$place/console" >&2
    return 1
}

# box NAME COMMAND: in the box
box() {
    local first
    first=$(cat "$SCRATCH/$1/first")
    shift
    nsenter --target "$first" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
}

# box_halt NAME
box_halt() {
    local place=$SCRATCH/$1 first nspawn
    first=$(cat "$place/first") nspawn=$(cat "$place/nspawn")
    kill -s RTMIN+4 "$first" 2>/dev/null || :
    for _ in {1..50}; do
        kill -0 "$nspawn" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$first" "$nspawn" 2>/dev/null || :
    wait "$nspawn" 2>/dev/null || :
    umount --lazy "$place/root"
}
