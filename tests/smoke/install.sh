#!/usr/bin/env bash
# Tests scripts/install and scripts/uninstall: the installed programs run, and an edited configuration is kept.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"

export DESTDIR=$dir/root PREFIX=/opt/dropline
mkdir "$DESTDIR"
mkdir "$DESTDIR/etc"
DROPLINED=$DESTDIR$PREFIX/sbin/droplined
DROPLINE=$DESTDIR$PREFIX/bin/dropline
configuration=$DESTDIR/etc/dropline/droplined.toml
# quietly COMMAND... - prints the output of a command only if it fails.
quietly() {
    "$@" >"$dir/said" 2>&1 || {
        cat "$dir/said" >&2
        exit 1
    }
}

quietly scripts/install
expect 'the unit names the program' "$(grep -o '^ExecStart=[^ ]*' "$DESTDIR$PREFIX/lib/systemd/system/droplined.service")" \
    "ExecStart=$PREFIX/sbin/droplined"
expect 'the unit of the timer names the program' "$(grep -o '^ExecStart=[^ ]*' "$DESTDIR$PREFIX/lib/systemd/system/dropline-expire.service")" \
    "ExecStart=$PREFIX/bin/droplinectl"
expect 'the configuration is valid' "$("$DROPLINED" --check --config "$configuration" 2>&1 | sed 's/.*: //')" \
    'the configuration is valid'

# The installed daemon runs, and uninstall refuses to remove it while it does.
start_daemon "$dir" -p 0
expect 'the daemon stores' "$("$DROPLINE" -d "localhost:$daemon_port" -u al send bob hello 2>&1 | head -n 1)" \
    'bob/1'
expect 'the daemon fetches' "$(printf 'fetch;bob\n' | nc -N localhost "$daemon_port")" \
    $'Retrieving messages...\nbob;al;hello\nNO MORE MESSAGES'
expect 'droplinectl finds the daemon' "$("$DESTDIR$PREFIX/bin/droplinectl" --run-dir "$dir/run" metrics | grep '^dropline_up')" \
    'dropline_up 1'
expect 'a running daemon is not removed' "$(scripts/uninstall 2>&1 | head -n 1)" \
    "the daemon is running (process $daemon_pid), and nothing was removed. Stop it first:"
[ -x "$DROPLINED" ]
end_daemon

# A second installation changes nothing. An edited configuration is kept.
find "$DESTDIR" | sort >"$dir/before"
quietly scripts/install
find "$DESTDIR" | sort >"$dir/after"
expect 'a second installation changes no file' "$(diff "$dir/before" "$dir/after")" ''
echo '# edited' >>"$configuration"
quietly scripts/install
expect 'an edited configuration is kept' "$(tail -n 1 "$configuration")" '# edited'
expect 'the new configuration is next to it' "$(cmp "$configuration.new" etc/droplined.toml)" ''
quietly scripts/uninstall
expect 'only the edited configuration is left' "$(cd "$DESTDIR" && find . -type f)" ./etc/dropline/droplined.toml
# --purge removes the configuration as well.
quietly scripts/install
quietly scripts/uninstall --purge
rmdir "$DESTDIR/etc/dropline" 2>/dev/null || true
expect 'no file is left' "$(cd "$DESTDIR" && find . | sort)" $'.\n./etc'
expect 'uninstall reports that nothing is installed' "$(scripts/uninstall 2>&1 | grep -c 'was not installed')" 1
