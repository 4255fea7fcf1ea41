# Creates and enters a clean Debian, for scripts/test-package and scripts/test-fresh.
# shellcheck shell=bash

# make_debian DIR PACKAGES [CACHE] - creates the smallest system of this machine's release with debootstrap, plus
# PACKAGES (separated by commas), from the mirror of this machine. Keeps the packages in the directory CACHE.
make_debian() {
    local root=$1 packages=$2 cache=${3-} codename mirror
    need debootstrap=debootstrap
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016 # apt expands the fields.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" | head -n 1)
    debootstrap ${cache:+"--cache-dir=$cache"} --variant=minbase "--include=$packages" "$codename" "$root" "$mirror" \
        >"$root.log" 2>&1 || {
        tail -n 5 "$root.log" >&2
        return 1
    }
    # Use the settings of this machine for packages and name resolution.
    apt-config dump | grep '^Acquire::' >"$root/etc/apt/apt.conf.d/99machine" || true
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
}

# become_in_debian [UNSHARE-OPTION...] DIR MORE COMMAND... - replaces this shell (call it in a subshell) with a command
# in that Debian, with its own mounts and processes, which end with it. MORE is shell text that adds mounts below $root.
become_in_debian() {
    local flags=() root more
    while [[ $1 = --* ]]; do
        flags+=("$1")
        shift
    done
    root=$1
    more=$2
    shift 2
    # shellcheck disable=SC2016 # The inner shell expands it.
    # The devices are those of this machine; changes to /dev stay inside.
    exec env --default-signal=INT,QUIT unshare "${flags[@]}" --mount --pid --fork --kill-child bash -ec '
        root=$1
        shift
        # Processes inside can make their own mounts only if their root is a mount point.
        mount --bind "$root" "$root"
        mount -t tmpfs none "$root/mnt"
        mkdir "$root/mnt/upper" "$root/mnt/work"
        mount -t overlay -o "lowerdir=/dev,upperdir=$root/mnt/upper,workdir=$root/mnt/work" none "$root/dev"
        umount --lazy "$root/mnt"
        mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 none "$root/dev/pts"
        mount -t tmpfs none "$root/dev/shm"
        mount -t proc none "$root/proc"
        mount -t sysfs none "$root/sys"
        mount -t tmpfs -o mode=755 none "$root/run"
        mount -t tmpfs none "$root/tmp"
        '"$more"'
        # pivot_root(2) instead of chroot(2): paths in /proc stay correct for processes that make further mounts.
        cd "$root"
        mkdir -p mnt/old
        pivot_root . mnt/old
        umount --lazy /mnt/old
        exec "$@"' bash "$root" "$@"
}
