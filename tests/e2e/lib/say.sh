# shellcheck shell=bash
# What a scenario says: a line a check, a line a figure. `finish` turns it into a status.

checks=0 failures=0

ok() {
    checks=$((checks + 1))
    printf '  ok      %s\n' "$*"
}

failed() {
    failures=$((failures + 1))
    printf '  FAILED  %s\n' "$*"
}

figure() { printf '  figure  %s\n' "$*"; }

# expect WHAT COMMAND...: the command succeeds
expect() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        ok "$what"
    else
        failed "$what"
        printf '%s\n' "$*" "$said" | sed 's/^/            /'
    fi
}

# expect_not WHAT COMMAND...: it fails
expect_not() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        failed "$what"
        printf '%s\n' "$*" "$said" | sed 's/^/            /'
    else
        ok "$what"
    fi
}

# equal WHAT EXPECTED COMMAND...: it prints that and nothing else
equal() {
    local what=$1 expected=$2 said
    shift 2
    said=$("$@" 2>&1) || :
    if [ "$said" = "$expected" ]; then
        ok "$what: $said"
    else
        failed "$what: expected '$expected', got '$said'"
    fi
}

# eventually SECONDS WHAT COMMAND...: it succeeds within that time
eventually() {
    local limit=$((SECONDS + $1)) what=$2 said
    shift 2
    until said=$("$@" 2>&1); do
        if [ "$SECONDS" -ge "$limit" ]; then
            failed "$what"
            printf '%s\n' "$*" "$said" | sed 's/^/            /'
            return 0
        fi
        sleep 0.2
    done
    ok "$what"
}

finish() {
    local status=$?
    if [ "$failures" -gt 0 ] || [ "$checks" -eq 0 ] || [ "$status" -ne 0 ]; then
        [ "$checks" -gt 0 ] || echo "  FAILED  no check was made"
        echo "  journal:"
        journalctl --no-pager --output=short-monotonic 2>/dev/null | grep -i conntidy | tail -n 40 | sed 's/^/    /' || :
        exit 1
    fi
}
