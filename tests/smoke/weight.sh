#!/usr/bin/env bash
# Bounds the cost of a fork in the release build: page faults of a child, mappings of the master.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"

start_daemon "$dir" -p 0 --bind 127.0.0.1
if grep -q 'libc' "/proc/$daemon_pid/maps"; then
    if has_static_libc; then
        echo 'the daemon is dynamically linked with the C library, although a static one is installed' >&2
        exit 1
    fi
    echo 'skip    the cost of a fork: the daemon is dynamically linked with the C library'
    exit 0
fi

# at_most WHAT NUMBER BOUND - fails the test if NUMBER exceeds BOUND.
at_most() {
    if [ "$2" -gt "$3" ] || [ "$2" -lt 1 ]; then
        echo "$1: $2, at most $3 expected" >&2
        exit 1
    fi
}

# faults - prints the page faults of all reaped children: cminflt in /proc/PID/stat. The name in parentheses is cut off.
faults() {
    local fields
    read -r -a fields < <(sed 's/.*) //' "/proc/$daemon_pid/stat")
    echo "${fields[8]}"
}

store() {
    printf 'store;bob;alice;hello\n' | nc -N 127.0.0.1 "$daemon_port" >"$dir/said"
    expect 'the reply to a client' "$(cat "$dir/said")" 'Message accepted and stored:'
}

# childless - waits until all children that serve a client are reaped.
childless() {
    eventually 10 has_no_child || {
        echo 'a child does not exit' >&2
        exit 1
    }
}
has_no_child() {
    local child children
    # read fails at the end of the file, which has no newline.
    read -r -a children <"/proc/$daemon_pid/task/$daemon_pid/children" || true
    for child in "${children[@]}"; do
        # All others count, also one that exits at this moment: the caller polls again.
        grep -qaE '^droplined: supervisor' "/proc/$child/cmdline" 2>/dev/null || return 1
    done
}

# The first request makes the mailbox.
store
childless
before=$(faults)
for ((i = 0; i < 20; i++)); do
    store
    childless
done
each=$((($(faults) - before) / 20))
# Measured: 28 to 41, depending on the start of the stack and the size of the folios in the page cache of the program.
at_most 'page faults of a child that stores a message' "$each" 45
# Measured: 14.
at_most 'mappings of the master' "$(wc -l <"/proc/$daemon_pid/maps")" 20
end_daemon
