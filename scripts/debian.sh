# A clean Debian in a directory, for scripts/test-package and scripts/test-fresh.
# shellcheck shell=bash

# make_debian DIR PACKAGES [CACHE] - has debootstrap make the release of this machine there, as small as it can be but for
# PACKAGES (a list with commas), from the mirror of this machine. The cache is a directory that keeps the packages.
make_debian() {
    local root=$1 packages=$2 cache=${3-} codename mirror
    need debootstrap=debootstrap
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016 # The fields are apt's.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" | head -n 1)
    debootstrap ${cache:+"--cache-dir=$cache"} --variant=minbase "--include=$packages" "$codename" "$root" "$mirror" \
        >"$root.log" 2>&1 || {
        tail -n 5 "$root.log" >&2
        return 1
    }
    # Packages and names are fetched as this machine fetches them.
    apt-config dump | grep '^Acquire::' >"$root/etc/apt/apt.conf.d/99machine" || true
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
}

# become_in_debian [UNSHARE-FLAG...] DIR MORE COMMAND... - becomes a command in that Debian, so call it in a subshell. The
# command has mounts and processes of its own, which end with it. MORE is shell text that mounts more below $root.
become_in_debian() {
    local flags=() root more
    while [[ $1 = --* ]]; do
        flags+=("$1")
        shift
    done
    root=$1
    more=$2
    shift 2
    # shellcheck disable=SC2016 # It is for the shell inside.
    # The devices are those of this machine, but what is made among them stays inside.
    exec env --default-signal=INT,QUIT unshare "${flags[@]}" --mount --pid --fork --kill-child bash -ec '
        root=$1
        shift
        # A mount of its own: without that, nothing inside can have mounts of its own.
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
        # The root of these mounts, and not only of the command: paths in /proc stay right where more is mounted inside.
        cd "$root"
        mkdir -p mnt/old
        pivot_root . mnt/old
        umount --lazy /mnt/old
        exec "$@"' bash "$root" "$@"
}
