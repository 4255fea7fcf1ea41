# Where scripts/install puts things, and scripts/uninstall finds them.
# shellcheck shell=bash disable=SC2034

DESTDIR=${DESTDIR-}
PREFIX=${PREFIX:-/usr/local}
SYSCONFDIR=${SYSCONFDIR:-/etc}
for place in "$DESTDIR" "$PREFIX" "$SYSCONFDIR"; do
    case $place in
        '' | /*) ;;
        *)
            echo "$place: DESTDIR, PREFIX and SYSCONFDIR are absolute paths" >&2
            exit 64
            ;;
    esac
done
bin=$PREFIX/bin
sbin=$PREFIX/sbin
lib=$PREFIX/lib
share=$PREFIX/share
doc=$share/doc/dropline
programs="$bin/dropline $bin/droplinectl $sbin/droplined"
spool=/var/spool/dropline
run=/run/dropline
# A line for each thing that was put: what it is, where, and for a configuration its checksum.
manifest_path=$lib/dropline/manifest

# sum_of FILE - its checksum.
sum_of() {
    sha256sum <"$1" | cut -d ' ' -f 1
}
