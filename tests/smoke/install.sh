#!/usr/bin/env bash
# scripts/install and scripts/uninstall: what is installed runs, an edited configuration stays, and nothing is left.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"

export DESTDIR=$dir/root PREFIX=/opt/dropline
mkdir "$DESTDIR"
mkdir "$DESTDIR/etc"
DROPLINED=$DESTDIR$PREFIX/sbin/droplined
DROPLINE=$DESTDIR$PREFIX/bin/dropline
configuration=$DESTDIR/etc/dropline/droplined.toml
# quietly COMMAND... - what it says matters only if it fails.
quietly() {
    "$@" >"$dir/said" 2>&1 || {
        cat "$dir/said" >&2
        exit 1
    }
}

quietly scripts/install
expect 'the unit names the program' "$(grep -o '^ExecStart=[^ ]*' "$DESTDIR$PREFIX/lib/systemd/system/droplined.service")" \
    "ExecStart=$PREFIX/sbin/droplined"
expect 'so does the other one' "$(grep -o '^ExecStart=[^ ]*' "$DESTDIR$PREFIX/lib/systemd/system/dropline-expire.service")" \
    "ExecStart=$PREFIX/bin/droplinectl"
expect 'the configuration is valid' "$("$DROPLINED" --check --config "$configuration" 2>&1 | sed 's/.*: //')" \
    'the configuration is valid'

# What was installed runs, and is not removed while it does.
start_daemon "$dir" -p 0
expect 'it stores' "$("$DROPLINE" -d "localhost:$daemon_port" -u al send bob hello 2>&1 | head -n 1)" \
    'bob/1'
expect 'it fetches' "$(printf 'fetch;bob\n' | nc -N localhost "$daemon_port")" \
    $'Retrieving messages...\nbob;al;hello\nNO MORE MESSAGES'
expect 'its tool looks at it' "$("$DESTDIR$PREFIX/bin/droplinectl" --run-dir "$dir/run" metrics | grep '^dropline_up')" \
    'dropline_up 1'
expect 'it is not removed' "$(scripts/uninstall 2>&1 | head -n 1)" \
    "the daemon runs (process $daemon_pid), and nothing was removed. End it first:"
[ -x "$DROPLINED" ]
end_daemon

# Once more, over it: as before. An edited configuration stays.
find "$DESTDIR" | sort >"$dir/before"
quietly scripts/install
find "$DESTDIR" | sort >"$dir/after"
expect 'the same is there' "$(diff "$dir/before" "$dir/after")" ''
echo '# edited' >>"$configuration"
quietly scripts/install
expect 'the edited one stays' "$(tail -n 1 "$configuration")" '# edited'
expect 'the new one is beside it' "$(cmp "$configuration.new" etc/droplined.toml)" ''
quietly scripts/uninstall
expect 'that alone is left' "$(cd "$DESTDIR" && find . -type f)" ./etc/dropline/droplined.toml
# With --purge nothing is.
quietly scripts/install
quietly scripts/uninstall --purge
rmdir "$DESTDIR/etc/dropline" 2>/dev/null || true
expect 'nothing is left' "$(cd "$DESTDIR" && find . | sort)" $'.\n./etc'
expect 'it is not there twice' "$(scripts/uninstall 2>&1 | grep -c 'was not installed')" 1
