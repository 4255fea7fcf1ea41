#!/usr/bin/env bash
# scripts/run: brings a newcomer to the menu with a daemon behind it, and ends what it started.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"
need script bsdutils

export XDG_STATE_HOME=$dir/state
# A terminal of its own, in which a newcomer sends a message to themselves, reads it and leaves.
type_in() {
    # Each line is typed when the menu has asked for it.
    local seen=$dir/screen
    : >"$seen"
    wait_for() {
        local tries=0
        until tr -d '\r' <"$seen" | grep -qF "$1"; do
            tries=$((tries + 1))
            [ "$tries" -lt 1200 ] || { echo "waited in vain for: $1" >&2; cat "$seen" >&2; return 1; }
            read -r -t 0.1 <> <(:) || true
        done
    }
    { wait_for '3  Exit' && printf '1\r' && wait_for 'To:' && printf 'newcomer\r' && wait_for 'Message:' &&
        printf 'hello me\r' && wait_for 'newcomer has it.' && printf '2\r' &&
        wait_for 'newcomer: hello me' && printf '3\r'; } |
        script -q -f -e -c "scripts/run -u newcomer" "$seen" >/dev/null
}
type_in
expect 'the daemon is named' "$(grep -c 'A private daemon listens on localhost:' "$dir/screen")" 1
expect 'the message was read' "$(tr -d '\r' <"$dir/screen" | grep -c 'newcomer: hello me')" 1
log=$dir/state/dropline/private/log
expect 'the daemon has ended' "$(tail -n 1 "$log" | sed 's/.*: //')" ended
expect 'and has left no pid file' "$(find "$dir/state/dropline/private/run" -maxdepth 1 ! -type d)" ''
