# Shared by the scripts: what they need of the system, and a private daemon.
# shellcheck shell=bash

# need COMMAND PACKAGE... - has COMMAND installed, or says in one line how to.
need() {
    local command=$1
    shift
    command -v "$command" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $* for $command" >&2
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"; } \
            >/dev/null 2>&1 || true
        command -v "$command" >/dev/null && return
    fi
    echo "$command is missing: apt-get install $*" >&2
    exit 69
}

# need_rust - has a Rust toolchain on the PATH, or says how to get one.
need_rust() {
    if ! command -v cargo >/dev/null && [ -r "$HOME/.cargo/env" ]; then
        # shellcheck source=/dev/null
        . "$HOME/.cargo/env"
    fi
    if ! command -v cargo >/dev/null; then
        echo "cargo is missing: install Rust 1.89 or later (rustup.rs)" >&2
        exit 69
    fi
    need cc gcc libc6-dev
}

# build - builds the three programs into target/release. The daemon is linked with the C library inside, and what a child
# runs put together, so that a fork has less to copy (PERFORMANCE.md); where that cannot be done, as usual.
build() {
    local script
    # Where the other scripts look for them, whatever the environment says.
    export CARGO_TARGET_DIR=target
    unset CARGO_BUILD_TARGET
    cargo build --release --locked --bin dropline --bin droplinectl || return
    if has_static_libc; then
        # Under a name that changes with it: cargo looks at the arguments alone.
        script=target/release/droplined-$(cksum <scripts/droplined.ld | tr -d ' ').ld
        cp scripts/droplined.ld "$script" || return
        cargo rustc --release --locked --bin droplined -- \
            -C target-feature=+crt-static -C "link-arg=-Wl,-T,$script" && return
    fi
    echo 'droplined is linked with the C library of this system: it forks more slowly, and does the same' >&2
    cargo build --release --locked --bin droplined
}

# has_static_libc - whether there is one to link with.
has_static_libc() {
    local out status=0
    out=$(mktemp)
    echo 'int main(void) { return 0; }' | cc -static-pie -x c -o "$out" - 2>/dev/null || status=$?
    rm -f "$out"
    return "$status"
}

# answers HOST PORT - whether a dropline server answers there.
answers() {
    local reply=''
    { exec {probe}<>"/dev/tcp/$1/$2"; } 2>/dev/null || return 1
    printf '\n' >&"$probe"
    read -r -t 5 reply <&"$probe" || true
    exec {probe}>&-
    [ "$reply" = 'No verb' ]
}

# start_daemon DIR [FLAG...] - starts droplined with its spool, run directory and log in DIR.
# Sets daemon_pid and daemon_port.
start_daemon() {
    local dir=$1 ready
    shift
    mkdir -p "$dir"
    # A named pipe, so that the port is there exactly when the daemon listens.
    ready=$(mktemp -u "$dir/ready.XXXXXX")
    mkfifo -m 600 "$ready"
    # A daemon of root's stays root here: the account of the system's daemon may not enter this directory.
    : >"$dir/private.toml"
    [ "$(id -u)" != 0 ] || echo 'user = "root"' >"$dir/private.toml"
    "$DROPLINED" --config "$dir/private.toml" --spool "$dir/spool" --run-dir "$dir/run" --ready-fd 3 "$@" \
        3>"$ready" 2>>"$dir/log" </dev/null &
    daemon_pid=$!
    read -r daemon_port <"$ready" || true
    rm -f "$ready"
    if [ -z "${daemon_port:-}" ]; then
        echo "the daemon does not start:" >&2
        tail -n 3 "$dir/log" >&2
        exit 69
    fi
}

# end_daemon - ends it, and waits until it has ended.
end_daemon() {
    [ -n "${daemon_pid:-}" ] || return 0
    kill -TERM "$daemon_pid" 2>/dev/null || true
    wait "$daemon_pid" 2>/dev/null || true
    daemon_pid=''
}
