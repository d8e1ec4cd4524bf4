# shellcheck shell=bash
# Runs scenarios, several at a time, and says how they went.
#
# A scenario is a file in scenarios/ whose second line says what it shows and whose third line where it runs (box, vm,
# bare: a box without conntidy). It defines `scenario`, which runs inside, and perhaps `prepare ROOT`, which adds files
# before the boot.
run_list() {
    local file
    for file in "$E2E"/scenarios/*.sh; do
        printf '%-24s %-8s %s\n' "$(basename "$file" .sh)" "$(sed -n '3s/^# Runs in: //p' "$file")" \
            "$(sed -n '2s/^# //p' "$file")"
    done
}

# scenarios_in PLACE
scenarios_in() {
    local file
    for file in "$E2E"/scenarios/*.sh; do
        ! grep -q "^# Runs in: .*\b$1\b" "$file" || basename "$file" .sh
    done
}

# prepare_tree SCENARIO TREE: what every scenario has, then its own
prepare_tree() (
    scenario=$1 tree=$2
    mkdir -p "$tree/e2e"
    cp -a "$E2E/lib" "$E2E/scenarios" "$tree/e2e/"
    echo "$scenario" >"$tree/e2e/scenario"
    prepare() { :; }
    cd "$E2E" || exit
    # shellcheck source=/dev/null
    . "scenarios/$scenario.sh"
    prepare "$tree"
)

# in_box NAME SUITE SCENARIO
in_box() {
    box_make "$1" "$(installed "$2"):$ROOTS/$2"
    box_try "$1" "$3"
}

# in_bare NAME SUITE SCENARIO: in a box without conntidy, but with packages of it
in_bare() {
    box_make "$1" "$ROOTS/$2"
    mkdir -p "$SCRATCH/$1/root/e2e"
    cp "$PACKAGE" "$SCRATCH/$1/root/e2e/old.deb"
    cp "$UPGRADE" "$SCRATCH/$1/root/e2e/new.deb"
    box_try "$1" "$3"
}

# box_try NAME SCENARIO
box_try() {
    local name=$1 scenario=$2 status=0
    prepare_tree "$scenario" "$SCRATCH/$name/root"
    box_boot "$name"
    timeout --kill-after=5 "${CONNTIDY_E2E_LIMIT:-180}" \
        nsenter --target "$(cat "$SCRATCH/$name/first")" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LC_ALL=C.UTF-8 bash /e2e/lib/inside.sh "$scenario" || status=$?
    [ "$status" -ne 124 ] || echo "  FAILED  over its time limit"
    box_halt "$name"
    return "$status"
}

# in_vm NAME SUITE SCENARIO
in_vm() {
    local name=$1 suite=$2 scenario=$3 status=0
    mkdir -p "$SCRATCH/$name"
    cp -a "$(installed "$suite")" "$SCRATCH/$name/tree"
    prepare_tree "$scenario" "$SCRATCH/$name/tree"
    machine_run "$name" "$suite" "$SCRATCH/$name/tree" "${CONNTIDY_E2E_LIMIT:-240}" || status=$?
    cat "$SCRATCH/$name/out/said" 2>/dev/null || :
    return "$status"
}

# One scenario on one suite; its output is printed as a whole when it ended.
run_one() {
    local place=$1 suite=$2 scenario=$3 name=$2-$3 started=$SECONDS status=0
    # shellcheck disable=SC2310
    "in_$place" "$name" "$suite" "$scenario" >"$SCRATCH/$name.said" 2>&1 || status=$?
    {
        flock 8
        echo "-- $scenario, $suite: $([ "$status" -eq 0 ] && echo passed || echo "FAILED (status $status)") in $((SECONDS - started)) s"
        cat "$SCRATCH/$name.said"
    } 8>"$SCRATCH/print"
    return "$status"
}

# run_scenarios PLACE [SCENARIO...]
run_scenarios() {
    local place=$1 scenario suite failed=0 running=0 parallel
    shift
    SCRATCH=$ROOTS/scratch
    mkdir -p "$SCRATCH"
    mount -t tmpfs -o size=75% tmpfs "$SCRATCH"
    local scenarios=("$@")
    [ ${#scenarios[@]} -gt 0 ] || mapfile -t scenarios < <(scenarios_in "$place")
    if [ "$place" = vm ]; then
        parallel=2 SUITES=("$MACHINE_SUITE")
    else
        parallel=4
    fi
    parallel=${CONNTIDY_E2E_PARALLEL:-$parallel}
    for suite in "${SUITES[@]}"; do
        [ "$place" = bare ] || install_layer "$suite"
    done
    for scenario in "${scenarios[@]}"; do
        grep -qs "^# Runs in: .*\b$place\b" "$E2E/scenarios/$scenario.sh" || {
            echo "no scenario $scenario for a $place; there are: $(scenarios_in "$place" | xargs)" >&2
            return 64
        }
        for suite in "${SUITES[@]}"; do
            if [ "$running" -ge "$parallel" ]; then
                wait -n || failed=$((failed + 1))
                running=$((running - 1))
            fi
            run_one "$place" "$suite" "$scenario" &
            running=$((running + 1))
        done
    done
    while [ "$running" -gt 0 ]; do
        wait -n || failed=$((failed + 1))
        running=$((running - 1))
    done
    echo "$(cat "$SCRATCH"/*.said | grep -c '^  ok ') checks passed, $(cat "$SCRATCH"/*.said | grep -c '^  FAILED ') failed"
    [ "$failed" -eq 0 ]
}
