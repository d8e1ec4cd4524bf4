# shellcheck shell=bash
# A virtual machine with a stock Debian kernel, emulated: slow, but with modules, a flowtable and an initial network
# namespace of its own.

# machine_run NAME SUITE TREE SECONDS: boots with TREE's files laid over the root, until the machine turns itself off.
# The scenario's output is in $SCRATCH/NAME/out.
machine_run() {
    local place=$SCRATCH/$1 suite=$2 tree=$3 limit=$4 status=0
    mkdir -p "$place"
    # One raw disk takes files in and brings results out.
    tar --create --directory="$tree" --file="$place/exchange" .
    truncate --size='>64M' "$place/exchange"
    (
        ulimit -c 0
        export QEMU_MODULE_DIR=$ROOTS/tools/usr/lib/x86_64-linux-gnu/qemu
        foreign tools usr/bin/qemu-system-x86_64 -L "$ROOTS/tools/usr/share/qemu" -L "$ROOTS/tools/usr/share/seabios" \
            -M q35 -accel tcg -cpu max -smp 1 -m 1024 -nodefaults -nographic -no-reboot \
            -kernel "$(kernel_file)" -initrd "$ROOTS/initrd.gz" -append 'console=ttyS0 panic=-1 quiet' \
            -serial "file:$place/serial" \
            -drive "file=$ROOTS/$suite.img,if=virtio,format=raw,snapshot=on" \
            -drive "file=$place/exchange,if=virtio,format=raw" </dev/null >"$place/qemu" 2>&1
    ) &
    local emulator=$!
    (
        sleep "$limit"
        kill -KILL "$emulator"
    ) 2>/dev/null &
    local watch=$!
    wait "$emulator" || status=$?
    kill "$watch" 2>/dev/null || :
    tar --extract --directory="$place" --file="$place/exchange" out 2>/dev/null || :
    rm -f "$place/exchange"
    [ -s "$place/out/status" ] || {
        echo "the machine gave no result (emulator: $status); the end of its console:"
        tail -n 5 "$place/qemu" "$place/serial"
        return 1
    }
    return "$(cat "$place/out/status")"
}
