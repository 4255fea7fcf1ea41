#!/usr/bin/env bash
# What a fork of the daemon weighs, as it is built for use: page faults of a child, mappings of the master.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"

start_daemon "$dir" -p 0 --bind 127.0.0.1
if grep -q 'libc' "/proc/$daemon_pid/maps"; then
    if has_static_libc; then
        echo 'the daemon is linked with the C library of this system, although there is one to link with' >&2
        exit 1
    fi
    echo 'skip    the weight of a fork: the daemon is linked with the C library of this system'
    exit 0
fi

# at_most WHAT NUMBER BOUND
at_most() {
    if [ "$2" -gt "$3" ] || [ "$2" -lt 1 ]; then
        echo "$1: $2, where at most $3 are expected" >&2
        exit 1
    fi
}

# faults - those of all children that have ended: the eleventh field of proc(5), stat; the second is a name in parentheses.
faults() {
    local fields
    read -r -a fields < <(sed 's/.*) //' "/proc/$daemon_pid/stat")
    echo "${fields[8]}"
}

store() {
    printf 'store;bob;alice;hello\n' | nc -N 127.0.0.1 "$daemon_port" >"$dir/said"
    expect 'what a client is told' "$(cat "$dir/said")" 'Message accepted and stored:'
}

# childless - waits until all children that serve a client are reaped. The supervisor stays.
childless() {
    eventually 10 has_no_child || {
        echo 'a child does not end' >&2
        exit 1
    }
}
has_no_child() {
    local child children
    # It has no newline at its end.
    read -r -a children <"/proc/$daemon_pid/task/$daemon_pid/children" || true
    for child in "${children[@]}"; do
        # One that is gone meanwhile is as well.
        grep -qaE '^droplined: supervisor' "/proc/$child/cmdline" 2>/dev/null || return 1
    done
}

# The first makes the mailbox.
store
childless
before=$(faults)
for ((i = 0; i < 20; i++)); do
    store
    childless
done
each=$((($(faults) - before) / 20))
# 28 to 35 when this was written, by where the stack begins and by the sizes of the pieces in which the kernel caches the program.
at_most 'page faults of a child that stores a message' "$each" 40
# 14 when this was written.
at_most 'mappings of the master' "$(wc -l <"/proc/$daemon_pid/maps")" 20
end_daemon
