#!/usr/bin/env bash
# Tests scripts/run: it opens a menu with a private daemon, and ends the daemon afterwards.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"
need_rust
need script=bsdutils

export XDG_STATE_HOME=$dir/state
# Use a network namespace, because another daemon may have port 8282. A first build needs the network for crates.
inside=()
beside=()
if cargo metadata --offline --locked --format-version 1 >/dev/null 2>&1 && unshare --net ip link set lo up 2>/dev/null; then
    inside=(unshare --net bash -c 'ip link set lo up && exec "$@"' bash)
fi

# In a terminal, a new user sends and reads a message, tries the hint, and leaves.
screen=$dir/screen
: >"$screen"
mkfifo "$dir/keys"
"${inside[@]}" script -q -f -e -c 'scripts/run -u newcomer' "$screen" <"$dir/keys" >/dev/null &
started+=($!)
exec {keys}>"$dir/keys"
[ ${#inside[@]} = 0 ] || beside=(nsenter "--net=/proc/${started[0]}/ns/net")
# shows TEXT - waits until TEXT is on the screen. A first build takes minutes.
shows() {
    on_screen() { tr -d '\r' <"$screen" | grep -qF "$1"; }
    ended() { ! kill -0 "${started[0]}" 2>/dev/null; }
    shown_or_ended() { on_screen "$1" || ended; }
    eventually 1800 shown_or_ended "$1"
    if ! on_screen "$1"; then
        echo "the screen does not show: $1" >&2
        cat "$screen" >&2
        exit 1
    fi
}
# types TEXT - types a line.
types() {
    printf '%s\r' "$1" >&"$keys"
}
shows '3  Exit'
types 1
shows 'To:'
types newcomer
shows 'Message:'
types 'hello me'
shows 'newcomer has it.'
types 2
shows 'newcomer: hello me'
need nc=netcat-openbsd
hint=$(tr -d '\r' <"$screen" | sed -n 's/^Try, in another terminal:  //p')
expect 'the hint works when pasted into a shell' "$("${beside[@]}" bash -c "$hint")" \
    'Message accepted and stored:'
types 2
shows '~me: hello'
types 3
wait "${started[0]}"
exec {keys}>&-
expect 'the address of the daemon is printed' "$(grep -c 'A private daemon listens on localhost:' "$screen")" 1
log=$dir/state/dropline/private/log
expect 'the daemon has ended' "$(tail -n 1 "$log" | sed 's/.*: //')" ended
expect 'the daemon has removed its pid file' "$(find "$dir/state/dropline/private/run" -maxdepth 1 ! -type d)" ''
