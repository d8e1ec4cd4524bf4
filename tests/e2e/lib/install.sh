# shellcheck shell=bash
# conntidy installed in a suite's root: a layer that boxes and machines lay over it.

# installed SUITE: where the layer is
installed() { echo "$SCRATCH/installed-$1/upper"; }

install_layer() {
    local suite=$1 place=$SCRATCH/installed-$1
    mkdir -p "$place"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=$ROOTS/$suite,upperdir=$place/upper,workdir=$place/work" "$place/root"
    mount -t proc proc "$place/root/proc"
    if [ -n "$PACKAGE" ]; then
        install_package "$place/root"
    else
        install_files "$place/root"
    fi
    umount "$place/root/proc" "$place/root"
    # What the layer takes away it marks with devices, which mean nothing elsewhere.
    find "$place/upper" -type c -delete
}

install_package() {
    local root=$1
    cp "$PACKAGE" "$root/conntidy.deb"
    chroot "$root" dpkg --install /conntidy.deb >"$SCRATCH/dpkg" 2>&1 || {
        cat "$SCRATCH/dpkg" >&2
        return 1
    }
    rm "$root/conntidy.deb"
}

# As the package would.
install_files() {
    local root=$1 units=$SOURCE/systemd
    install -m 755 -D "$PROGRAM" "$root/usr/bin/conntidy"
    mkdir -p "$root/etc/conntidy"
    install -m 644 -t "$root/usr/lib/systemd/system" "$units"/*.service "$units"/*.timer
    install -m 644 -D -t "$root/usr/lib/udev/rules.d" "$units"/*.rules
    install -m 644 -D "$units/conntidy.sysusers.conf" "$root/usr/lib/sysusers.d/conntidy.conf"
    install -m 644 -D "$units/conntidy.tmpfiles.conf" "$root/usr/lib/tmpfiles.d/conntidy.conf"
    install -m 644 -D -t "$root/usr/lib/systemd/catalog" "$units/conntidy.catalog"
    chroot "$root" journalctl --update-catalog
    chroot "$root" systemd-sysusers >/dev/null 2>&1
    chroot "$root" systemctl --quiet enable conntidy.service conntidy-reconcile.timer
}
