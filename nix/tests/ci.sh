#!/usr/bin/env bash
# nix/tests/ci.sh [--update]: what can be tested of the Nix part without packages of nixpkgs. Needs no root and no Nix
# daemon, and installs nothing. --update writes the files that are made (policy-schema.json, rendered/, the options' page).
#
# Needs Debian's nix-bin (2.8 and later), mmdebstrap, jq, python3-jsonschema and systemd, and cargo. The crates that carry
# nixpkgs' lib and a second Nix (Debian 13's) are had from their registries.
#
# CONNTIDY_NIXPKGS   a tree of nixpkgs to test with too
# CONNTIDY_PROGRAM   the conntidy to check policies with [what cargo builds]
# shellcheck disable=SC2016,SC2317  # functions that `check` calls
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

TARGET=${CARGO_TARGET_DIR:-$PWD/target}
WORK=$(mktemp --directory)
trap 'chmod -R u+w "$WORK"; rm -rf "$WORK"' EXIT
FAILED=0

ok() { printf 'ok      %s (%s s)\n' "$1" "$((SECONDS - STARTED))"; STARTED=$SECONDS; }
failed() {
    printf 'FAILED  %s\n' "$1"
    [ ! -s "${2:-/dev/null}" ] || sed 's/^/    /' "$2"
    FAILED=1 STARTED=$SECONDS
}
skipped() {
    printf 'SKIPPED %s\n' "$1"
    [ -z "${CONNTIDY_REQUIRE_ALL:-}" ] || FAILED=1
}
# check WHAT COMMAND...: the command succeeds
check() {
    local what=$1
    shift
    if "$@" >"$WORK/said" 2>&1; then ok "$what"; else failed "$what" "$WORK/said"; fi
}
STARTED=$SECONDS

# --- what is needed ----------------------------------------------------------------------------------------------

for program in nix-instantiate jq python3 cargo systemd-analyze; do
    command -v "$program" >/dev/null || missing="${missing:-} $program"
done
python3 -c 'import jsonschema' 2>/dev/null || missing="${missing:-} python3-jsonschema"
[ -z "${missing:-}" ] || {
    skipped "everything: missing${missing} (Debian: apt-get install nix-bin mmdebstrap jq python3-jsonschema systemd)"
    exit "$FAILED"
}

# Nix gets a home of its own, cargo needs the developer's.
DEVELOPER=$HOME
as_developer() { HOME=$DEVELOPER "$@"; }

# A store of its own, without daemon, build users, sandbox and network.
export NIX_STORE_DIR=$WORK/nix/store NIX_STATE_DIR=$WORK/nix/var NIX_LOG_DIR=$WORK/nix/log HOME=$WORK NIX_PATH=
export NIX_CONFIG='build-users-group =
sandbox = false
substituters =
experimental-features = nix-command flakes'

# Nix 2.8's successor by years. Runs through its own loader, whatever this machine's libraries.
newer_nix() {
    local root=$TARGET/nix-of-trixie
    if [ ! -d "$root" ]; then
        rm -rf "$root.tmp"
        mkdir -p "$TARGET"
        mmdebstrap --variant=extract --mode=chrootless --include=nix-bin trixie "$root.tmp" >"$WORK/mmdebstrap" 2>&1 || {
            cat "$WORK/mmdebstrap"
            return 1
        }
        mv "$root.tmp" "$root"
    fi
    mkdir -p "$WORK/newer"
    local program libraries
    libraries=$(dirname "$(find "$root/usr/lib" -name libc.so.6)")
    for program in nix nix-instantiate nix-build; do
        cat >"$WORK/newer/$program" <<EOF
#!/bin/sh
export NIX_CONFIG="\$NIX_CONFIG
build-hook ="
exec $libraries/$(basename "$(find "$libraries" -maxdepth 1 -name 'ld-linux*.so*')") --argv0 $program --library-path $libraries $root/usr/bin/nix "\$@"
EOF
        chmod +x "$WORK/newer/$program"
    done
}

ITS_PATH=$PATH
versions=("$ITS_PATH")
if command -v mmdebstrap >/dev/null && newer_nix; then
    versions+=("$WORK/newer:$ITS_PATH")
else
    skipped "a second version of Nix: it needs mmdebstrap"
fi

crate() { jq -r --arg name "$1" '.packages[] | select(.name == $name) | .manifest_path | rtrimstr("/Cargo.toml")' "$WORK/crates"; }
as_developer cargo metadata --quiet --locked --format-version 1 \
    --manifest-path nix/tests/nixpkgs/Cargo.toml >"$WORK/crates"
OLD=$(crate nixel)/tests/inputs/nixpkgs
LIB=$(crate nixdoc)/src/tests/fixtures
# Name and arguments of each nixpkgs that the module is evaluated with.
declare -A NIXPKGS=(
    ["nixpkgs of 2022-11"]="nixpkgs = $OLD;"
    ["lib of 2023-12"]="nixpkgs = $OLD; lib = import $LIB;"
)
[ -z "${CONNTIDY_NIXPKGS:-}" ] || NIXPKGS["$CONNTIDY_NIXPKGS"]="nixpkgs = $CONNTIDY_NIXPKGS;"

if [ -z "${CONNTIDY_PROGRAM:-}" ]; then
    as_developer cargo build --quiet --locked
    CONNTIDY_PROGRAM=$TARGET/debug/conntidy
fi
mkdir -p "$WORK/conntidy/bin"
cp "$CONNTIDY_PROGRAM" "$WORK/conntidy/bin/conntidy"

# value FILE ARGUMENTS: FILE applied to them, as JSON
value() {
    nix-instantiate --eval --strict --json --expr "import ./nix/$1 { $2 }" 2>"$WORK/errors" || {
        cat "$WORK/errors" >&2
        return 1
    }
}

# --- what is made ------------------------------------------------------------------------------------------------

MADE=$WORK/made
mkdir -p "$MADE/rendered"
"$CONNTIDY_PROGRAM" schema policy >"$MADE/policy-schema.json"
if [ "${1:-}" = --update ]; then cp "$MADE/policy-schema.json" nix/policy-schema.json; fi

# rendered ARGUMENTS DIRECTORY
rendered() {
    mkdir -p "$2"
    value tests/rendered.nix "$1" >"$WORK/rendered" || return
    local name
    for name in $(jq -r 'keys[]' "$WORK/rendered"); do jq -j --arg name "$name" '.[$name]' "$WORK/rendered" >"$2/$name"; done
}

# build WHAT HOST: the store path of the host's `policy`, or of its `policies` with those of all namespaces
build() {
    nix-build --no-out-link --expr "((import ./nix/tests/harness.nix { nixpkgs = $OLD; conntidy = \"$WORK/conntidy\"; }).system [ $2 ]).$1"
}

rendered "nixpkgs = $OLD;" "$MADE/rendered"
cp "$(build policy ./nix/examples/nat-router.nix 2>"$WORK/errors" || cat "$WORK/errors" >&2)" "$MADE/rendered/policy.toml"
namespace=$(nix-build --no-out-link --expr "with import ./nix/tests/harness.nix { nixpkgs = $OLD; }; (import ./nix/module/policy.nix { inherit lib pkgs; package = pkgs.conntidy; }).file (evaluate [ ./nix/examples/nat-router.nix ]).config.services.conntidy.namespaces.guests.settings" 2>/dev/null)
cp "$namespace" "$MADE/rendered/guests.toml"
value docs.nix "nixpkgs = $OLD;" >"$WORK/docs"
jq -r .markdown "$WORK/docs" >"$MADE/nixos-options.md"
jq .list "$WORK/docs" >"$WORK/options"
chmod -R u+w "$MADE"

if [ "${1:-}" = --update ]; then
    rm -rf nix/tests/rendered
    cp -r "$MADE/rendered" nix/tests/rendered
    cp "$MADE/nixos-options.md" docs/nixos-options.md
fi

# --- the tests ---------------------------------------------------------------------------------------------------

fresh() { diff --unified --recursive "$1" "$2" || { echo "made anew by nix/tests/ci.sh --update"; return 1; }; }
check "the schema beside the module is the program's" fresh nix/policy-schema.json "$MADE/policy-schema.json"
check "each key of the policy is an option, and each option a key" python3 nix/tests/schema.py paths "$MADE/policy-schema.json" "$WORK/options"
check "docs/nixos-options.md is what the module says" fresh docs/nixos-options.md "$MADE/nixos-options.md"
check "units and policy of the NAT router are the stored ones" fresh nix/tests/rendered "$MADE/rendered"
check "the module's units mean what those in systemd/ mean" python3 nix/tests/shipped.py systemd "$MADE/rendered"

python3 nix/tests/schema.py samples "$MADE/policy-schema.json" >"$WORK/samples.json"
value tests/accepts.nix "nixpkgs = $OLD; samples = $WORK/samples.json;" >"$WORK/took.json"
check "options take the values that the schema takes, by jsonschema" python3 nix/tests/schema.py judge "$MADE/policy-schema.json" "$WORK/samples.json" "$WORK/took.json"
sed 's/^/        /' "$WORK/said"

known_sysctls() {
    local key
    for key in $(nix-instantiate --eval --json --strict --expr "
        with import ./nix/tests/harness.nix { nixpkgs = $OLD; };
        let
          schema = lib.importJSON ./nix/policy-schema.json;
          of = protocol: node: if node ? \"\$ref\" then lib.mapAttrs (_: _: 1) schema.\"\$defs\".\${lib.removePrefix \"#/\$defs/\" node.\"\$ref\"}.properties else 1;
          timeouts = lib.mapAttrs of schema.\"\$defs\".Timeouts.properties;
        in lib.attrNames ((import ./nix/module/policy.nix { inherit lib pkgs; package = null; }).tunables { inherit timeouts; })" | jq -r '.[]'); do
        grep -q "\`$key\`" docs/policy.md || { echo "docs/policy.md does not know $key"; return 1; }
    done
}
check "every timeout's sysctl is that of the policy's documentation" known_sysctls

all_units() {
    local unit directory=$WORK/units said name
    rm -rf "$directory" && mkdir "$directory"
    for unit in "$MADE"/rendered/*.service "$MADE"/rendered/*.timer; do
        sed "s|^ExecStart=\"[^\"]*\"|ExecStart=$(command -v true)|" "$unit" >"$directory/$(basename "$unit")"
    done
    # It exits 0 on keys that it does not know.
    said=$(systemd-analyze verify --man=no --recursive-errors=no "$directory"/* 2>&1) || { echo "$said"; return 1; }
    said=$(grep -v 'X-RestartIfChanged\|X-StopIfChanged' <<<"$said" || :)
    [ -z "$said" ] || { echo "$said"; return 1; }
    for unit in "$directory"/*.service; do
        name=$(basename "$unit")
        said=$(systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" 2>&1) || { echo "$name is too exposed"; return 1; }
        printf '%-32s %s\n' "$name" "$(grep --only-matching 'Overall exposure level.*: [0-9.]*' <<<"$said" | grep --only-matching '[0-9.]*$')"
    done
}
check "systemd-analyze finds nothing in the units, and at most 1.5 exposed" all_units
sed 's/^/        /' "$WORK/said"

for PATH in "${versions[@]}"; do
    nix=$(nix-instantiate --version | grep --only-matching '[0-9.]*$')

    for file in flake.nix $(git ls-files 'nix/*.nix'); do nix-instantiate --parse "$file" >/dev/null || failed "Nix $nix: $file"; done

    for name in "${!NIXPKGS[@]}"; do
        arguments="${NIXPKGS[$name]} conntidy = \"$WORK/conntidy\";"
        evaluated() {
            value tests/evaluate.nix "$arguments" | jq . >"$WORK/wrong"
            [ "$(jq length "$WORK/wrong")" = 0 ] || { cat "$WORK/wrong"; return 1; }
        }
        check "Nix $nix, $name: what the module makes of settings" evaluated
        same_units() {
            rendered "${NIXPKGS[$name]}" "$WORK/other"
            diff --unified --recursive --exclude=policy.toml --exclude=guests.toml nix/tests/rendered "$WORK/other"
        }
        check "Nix $nix, $name: the same units" same_units
    done

    for example in nix/examples/*.nix; do
        check "Nix $nix, $(basename "$example"): its policies pass \`conntidy check\`" build policies "./$example"
    done
    check "Nix $nix: so do those of docs/nixos.md" build policies "$(python3 -c 'import re, sys
print(*re.findall(r"```nix\n(\{\n  services\.conntidy.*?)```", sys.stdin.read(), re.DOTALL))' <docs/nixos.md)"

    bad='{ services.conntidy = { enable = true; settings.rules.a = { match.dprot = 80; action = "delete"; }; }; }'
    bad_policy() {
        ! build policies "$1" >"$WORK/build" 2>&1 || { echo "it was built"; return 1; }
        local part
        for part in 'dprot' 'dport' '1  "version" = 1' 'services.conntidy.checkPolicy = false'; do
            grep -qF -- "$part" "$WORK/build" || { echo "the message lacks: $part"; cat "$WORK/build"; return 1; }
        done
    }
    check "Nix $nix: a bad policy fails the build, with lines, place and way out" bad_policy "$bad"
    check "Nix $nix: so does one of a namespace" bad_policy "
        { services.conntidy = { enable = true; namespaces.red.settings.rules.a = { match.dprot = 80; action = \"delete\"; }; }; }"
    check "Nix $nix: and is built when nobody checks" build policies "$bad { services.conntidy.checkPolicy = false; }"

    type_error() {
        ! nix-instantiate --eval --strict --expr "((import ./nix/tests/harness.nix { nixpkgs = $OLD; }).evaluate [ { services.conntidy.settings.timeouts.icmp = true; } ]).config.services.conntidy.settings.timeouts.icmp" 2>"$WORK/errors" || return 1
        grep -F 'services.conntidy.settings.timeouts.icmp' "$WORK/errors" | grep -F 'a duration as' || { cat "$WORK/errors"; return 1; }
    }
    check "Nix $nix: a wrong type names the option and what it takes" type_error
done
PATH=$ITS_PATH

# The flake as users see it, with a stub in place of nixpkgs: names and shapes, no builds.
mkdir -p "$WORK/source" "$WORK/stub"
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --create --null --files-from=- | tar --extract --directory="$WORK/source"
cp nix/tests/stub/flake.nix "$WORK/stub/"
cp -r "$LIB" "$WORK/stub/lib"
chmod -R u+w "$WORK/stub"
stubbed() {
    local command=$1
    shift
    # shellcheck disable=SC2086  # two words
    nix $command --offline --no-write-lock-file --override-input nixpkgs "path:$WORK/stub" "$@"
}
for PATH in "${versions[@]}"; do
    nix=$(nix-instantiate --version | grep --only-matching '[0-9.]*$')
    check "Nix $nix: nix flake check, without builds" stubbed "flake check" --no-build "path:$WORK/source"
    outputs() {
        stubbed "flake show" --json "path:$WORK/source" 2>/dev/null |
            jq -r 'paths(type == "object" and has("type")) | join(".")' | grep -v aarch64 | sort >"$WORK/outputs"
        diff --unified nix/tests/outputs.txt "$WORK/outputs"
    }
    check "Nix $nix: the flake's outputs are the promised ones" outputs
done
PATH=$ITS_PATH

package_source() {
    local source
    source=$(nix-instantiate --eval --json --read-write-mode --expr "
        (((import $WORK/stub/flake.nix).outputs { self = null; }).legacyPackages.x86_64-linux.callPackage ./nix/package.nix { }).src.outPath" | jq -r .) || return
    # What the package builds, and the tests that it runs.
    as_developer env CARGO_TARGET_DIR="$TARGET" sh -euc 'for what in "--bins" "--lib --profile=test"; do
        cargo check --quiet --locked --offline $what --manifest-path "$1/Cargo.toml"
    done' sh "$source"
}
check "the package's source is all that cargo needs" package_source

if [ "$FAILED" = 0 ]; then echo "nix: all passed in $SECONDS s"; else echo "nix: FAILED"; fi
exit "$FAILED"
