#!/usr/bin/env bash
# Inside a box or a machine: waits for the end of the boot, runs the scenario, says what failed.
set -Eeuo pipefail
cd /e2e

if [ "${1:-}" = --machine ]; then
    mkdir -p out
    status=0
    bash lib/inside.sh "$(cat scenario)" >out/said 2>&1 || status=$?
    echo "$status" >out/status
    tar --create --file=/dev/vdb out
    sync
    exit 0
fi

. lib/say.sh
. lib/systemd.sh
. lib/traffic.sh
# shellcheck source=/dev/null
. "scenarios/$1.sh"

trap 'failed "line $LINENO of ${BASH_SOURCE[0]##*/}: $BASH_COMMAND"' ERR
trap 'traffic_end; finish' EXIT
booted
share_boot_id
scenario
