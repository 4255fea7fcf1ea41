# Shared by the smoke tests: a private daemon and assertions.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
export DROPLINED=target/release/droplined
export DROPLINE=target/release/dropline
unset DROPLINE_SERVER DROPLINE_USER
export NO_COLOR=1
# The names of the tests may be logins of this machine.
# shellcheck disable=SC2034 # used by start_daemon
daemon_config='reserve_logins = false'
dir=$(mktemp -d)
export DROPLINE_STATE_DIR=$dir/state
# The pids of the processes that a test started besides the daemon.
started=()
trap clean_up EXIT

# clean_up - ends the daemon and the started processes, and removes the directory.
clean_up() {
    end_daemon
    # Without a pid, wait would wait for all children.
    if [ ${#started[@]} -gt 0 ]; then
        kill "${started[@]}" 2>/dev/null || true
        wait "${started[@]}" 2>/dev/null || true
    fi
    rm -rf "$dir"
}

# eventually SECONDS COMMAND... - polls until a command succeeds. Fails after SECONDS.
eventually() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        read -r -t 0.05 <> <(:) || true
    done
}

# expect WHAT GOT WANTED - fails the test unless GOT equals WANTED.
expect() {
    if [ "$2" != "$3" ]; then
        printf '%s:\n  got    %q\n  wanted %q\n' "$1" "$2" "$3" >&2
        [ ! -e "$dir/log" ] || tail -n 20 "$dir/log" >&2
        exit 1
    fi
}

# exactly COMMAND... - prints the output of a command and a dot, to preserve trailing newlines in $(...).
exactly() {
    "$@"
    printf .
}
