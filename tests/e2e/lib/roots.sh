# shellcheck shell=bash
# Debian roots, the kernel of the machines, and their disk images. Made once, then only read.

# What a box or a machine has beside Debian's essential packages.
ROOT_PACKAGES=systemd,systemd-sysv,systemd-container,dbus,libseccomp2,udev,kmod,procps,nftables,conntrack,iproute2,jq,passwd,python3-minimal
# What makes them run, whatever this machine has: an emulator, an initial ramdisk.
TOOL_PACKAGES=qemu-system-x86,busybox-static,kmod

# The release whose stock kernel the machines have, and which they are made of.
MACHINE_SUITE=trixie

# Raise it when a root has to be made otherwise.
ROOTS_EDITION=2

# Makes what is missing; waits where another run is at it.
roots_prepare() {
    local started=$SECONDS
    mkdir -p "$ROOTS"
    exec 9>"$ROOTS/lock"
    flock 9
    if [ "$(cat "$ROOTS/edition" 2>/dev/null)" != "$ROOTS_EDITION" ]; then
        find "$ROOTS" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf --one-file-system {} +
        echo "$ROOTS_EDITION" >"$ROOTS/edition"
    fi
    local suite pid pids=()
    tools_make &
    pids+=($!)
    for suite in bookworm trixie; do
        root_make "$suite" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    initrd_make
    image_make "$MACHINE_SUITE"
    flock --unlock 9
    [ $((SECONDS - started)) -lt 2 ] || echo "roots ready after $((SECONDS - started)) s"
}

# debian SUITE NAME PACKAGES [mmdebstrap options]: $ROOTS/NAME, complete or not there
debian() {
    local suite=$1 name=$2 packages=$3
    shift 3
    [ ! -d "$ROOTS/$name" ] || return 0
    rm -rf --one-file-system "$ROOTS/$name.tmp"
    mmdebstrap --mode=root --variant=essential --include="$packages" "$@" \
        "$suite" "$ROOTS/$name.tmp" >"$ROOTS/$name.log" 2>&1 || {
        tail -n 20 "$ROOTS/$name.log" >&2
        return 1
    }
    mv "$ROOTS/$name.tmp" "$ROOTS/$name"
}

root_make() {
    local suite=$1 quiet
    # shellcheck disable=SC2016  # mmdebstrap gives the hook its $1
    quiet='for unit in dev-hugepages.mount systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer; do
        ln -sf /dev/null "$1/etc/systemd/system/$unit"; done; : >"$1/etc/fstab"'
    debian "$suite" "$suite" "$ROOT_PACKAGES" --customize-hook="$quiet"
}

# The emulator, and the kernel that Debian has at the moment, unpacked but not installed.
tools_make() {
    local kernel
    # shellcheck disable=SC2016
    kernel='set -e; mkdir "$1/kernel"; cd "$1/kernel"; export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
        package=$(apt-cache depends linux-image-cloud-amd64 | sed -n "s/.*Depends: \(linux-image-[0-9].*\)/\1/p")
        apt-get download -o APT::Sandbox::User=root "$package-unsigned" || apt-get download -o APT::Sandbox::User=root "$package"
        dpkg-deb --extract ./*.deb . && rm ./*.deb'
    debian "$MACHINE_SUITE" tools "$TOOL_PACKAGES" --customize-hook="$kernel"
}

kernel_file() { echo "$ROOTS"/tools/kernel/boot/vmlinuz-*; }
kernel_version() { basename "$(kernel_file)" | sed 's/^vmlinuz-//'; }
kernel_modules() { find "$ROOTS/tools/kernel" -type d -path "*/lib/modules/$(kernel_version)"; }

# foreign ROOT PROGRAM ARGUMENTS: a program of a root on this machine, with its own libraries. Replaces the shell.
foreign() {
    local root=$ROOTS/$1 program=$2 libraries
    shift 2
    libraries=$root/usr/lib/x86_64-linux-gnu
    exec "$root/lib64/ld-linux-x86-64.so.2" --library-path "$libraries/systemd:$libraries" "$root/$program" "$@"
}

# Loads the disk's driver, mounts the disk, lays the scenario's files over it.
initrd_make() {
    [ ! -e "$ROOTS/initrd.gz" ] || return 0
    local tree=$ROOTS/initrd modules module file
    modules=$(kernel_modules)
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,dev,modules,new,proc}
    cp "$ROOTS/tools/usr/bin/busybox" "$tree/bin/"
    for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
        file=$(find "$modules" -name "$module.ko*")
        case $file in
            '') ;; # built in
            *.xz) xz --decompress --stdout "$file" >"$tree/modules/$module.ko" ;;
            *) cp "$file" "$tree/modules/$module.ko" ;;
        esac
    done
    install -m 755 "$E2E/lib/initrd-init" "$tree/init"
    (cd "$tree" && find . | bin/busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$ROOTS/initrd.gz.tmp"
    mv "$ROOTS/initrd.gz.tmp" "$ROOTS/initrd.gz"
    rm -rf "$tree"
}

# A disk with a suite's root and the modules that networking needs.
image_make() {
    [ ! -e "$ROOTS/$1.img" ] || return 0
    local suite=$1 scratch=$ROOTS/image version modules unit
    version=$(kernel_version) modules=$(kernel_modules)
    mkdir -p "$scratch"
    mount -t tmpfs tmpfs "$scratch"
    mkdir "$scratch"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=$ROOTS/$suite,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
    local root=$scratch/root
    mkdir -p "$root/lib/modules/$version/kernel/drivers" "$root/e2e/out"
    cp "$modules"/modules.* "$root/lib/modules/$version/"
    cp -a "$modules"/kernel/{net,lib,crypto} "$root/lib/modules/$version/kernel/"
    (cd "$modules" && find kernel/drivers/net \( -name 'veth.ko*' -o -name 'dummy.ko*' \) -exec cp -a --parents -t "$root/lib/modules/$version/" {} +)
    chroot "$root" depmod "$version"
    echo vm >"$root/etc/hostname"
    # Slow under emulation, and nothing here needs them.
    for unit in systemd-logind systemd-random-seed systemd-update-utmp ldconfig getty@tty1 serial-getty@ttyS0; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
    done
    install -m 644 -D "$E2E/lib/e2e.service" "$root/etc/systemd/system/e2e.service"
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -sf ../e2e.service "$root/etc/systemd/system/multi-user.target.wants/"
    truncate --size=1500M "$ROOTS/$suite.img.tmp"
    PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -O ^has_journal -d "$root" "$ROOTS/$suite.img.tmp"
    umount "$scratch/root" "$scratch"
    mv "$ROOTS/$suite.img.tmp" "$ROOTS/$suite.img"
}
