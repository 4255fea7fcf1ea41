# The paths that scripts/install and scripts/uninstall use.
# shellcheck shell=bash disable=SC2034

DESTDIR=${DESTDIR-}
PREFIX=${PREFIX:-/usr/local}
SYSCONFDIR=${SYSCONFDIR:-/etc}
for place in "$DESTDIR" "$PREFIX" "$SYSCONFDIR"; do
    case $place in
        '' | /*) ;;
        *)
            echo "$place: DESTDIR, PREFIX and SYSCONFDIR must be absolute paths" >&2
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
# A line for each installed object: its kind, its path, and for a configuration file its checksum.
manifest_path=$lib/dropline/manifest

sum_of() {
    sha256sum <"$1" | cut -d ' ' -f 1
}
