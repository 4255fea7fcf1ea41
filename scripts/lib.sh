# Functions shared by the scripts: prerequisites, builds, and a private daemon.
# shellcheck shell=bash

# need COMMAND=PACKAGE[,PACKAGE]... - installs the packages of missing commands, or reports how to install them.
need() {
    local item absent=() packages
    for item in "$@"; do
        command -v "${item%%=*}" >/dev/null || absent+=("$item")
    done
    [ ${#absent[@]} -gt 0 ] || return 0
    packages=${absent[*]#*=}
    IFS=' ' read -r -a packages <<<"${packages//,/ }"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing ${packages[*]}" >&2
        install_packages "${packages[@]}"
    fi
    for item in "${absent[@]}"; do
        if ! command -v "${item%%=*}" >/dev/null; then
            echo "${item%%=*} is missing: apt-get install ${packages[*]}" >&2
            exit 69
        fi
    done
}

# install_packages PACKAGE... - installs Debian packages without recommended ones. Does not start their services.
install_packages() {
    local stubs
    stubs=$(mktemp -d)
    ln -s /bin/true "$stubs/invoke-rc.d"
    ln -s /bin/true "$stubs/deb-systemd-invoke"
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o "DPkg::Path=$stubs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"; } \
        >"$stubs/log" 2>&1; then
        tail -n 5 "$stubs/log" >&2
    fi
    rm -rf "$stubs"
    hash -r
}

# need_rust - puts a Rust toolchain on the PATH, or reports how to get one.
need_rust() {
    if ! command -v cargo >/dev/null && [ -r "$HOME/.cargo/env" ]; then
        # shellcheck source=/dev/null
        . "$HOME/.cargo/env"
    fi
    if ! command -v cargo >/dev/null; then
        echo "cargo is missing: install Rust 1.89 or later (rustup.rs)" >&2
        exit 69
    fi
    need cc=gcc,libc6-dev
}

# build - builds the three programs into target/release. Links the daemon with the C library statically, which makes its
# forks cheaper (docs/performance.md), or dynamically if there is no static library.
build() {
    # The other scripts expect the programs there, whatever the environment says.
    export CARGO_TARGET_DIR=target
    unset CARGO_BUILD_TARGET
    cargo build --release --locked --bin dropline --bin droplinectl || return
    if has_static_libc; then
        cargo rustc --release --locked --bin droplined -- -C target-feature=+crt-static && return
    fi
    echo 'droplined is linked dynamically with the C library: it works the same, but forks more slowly' >&2
    cargo build --release --locked --bin droplined
}

# has_static_libc - returns whether programs can be linked with the C library statically.
has_static_libc() {
    local out status=0
    out=$(mktemp)
    echo 'int main(void) { return 0; }' | cc -static-pie -x c -o "$out" - 2>/dev/null || status=$?
    rm -f "$out"
    return "$status"
}

# answers HOST PORT - returns whether a dropline server answers there.
answers() {
    local reply=''
    { exec {probe}<>"/dev/tcp/$1/$2"; } 2>/dev/null || return 1
    printf '\n' >&"$probe"
    read -r -t 5 reply <&"$probe" || true
    exec {probe}>&-
    [ "$reply" = 'No verb' ]
}

# start_daemon DIR [OPTION...] - starts droplined with its spool, run directory and log in DIR, and the lines of the
# variable daemon_config in its configuration.
# Sets daemon_pid and daemon_port.
start_daemon() {
    local dir=$1 ready
    shift
    mkdir -p "$dir"
    # Reading from a named pipe waits until the daemon listens and has written its port.
    ready=$(mktemp -u "$dir/ready.XXXXXX")
    mkfifo -m 600 "$ready"
    # A daemon of root stays root here: the account dropline may be unable to enter this directory.
    : >"$dir/private.toml"
    [ "$(id -u)" != 0 ] || echo 'user = "root"' >"$dir/private.toml"
    printf '%s\n' "${daemon_config-}" >>"$dir/private.toml"
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

# end_daemon - ends the daemon and waits for it.
end_daemon() {
    [ -n "${daemon_pid:-}" ] || return 0
    kill -TERM "$daemon_pid" 2>/dev/null || true
    wait "$daemon_pid" 2>/dev/null || true
    daemon_pid=''
}
