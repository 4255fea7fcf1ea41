#!/usr/bin/env bash
# Tests the line dialect with common tools: variants of netcat, socat, and bash.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"
start_daemon "$dir" -p 0
port=$daemon_port
accepted=$'Message accepted and stored:\n.'

# with TOOL COMMAND... - stores and fetches a message through COMMAND, which connects its standard input and output to
# the daemon.
with() {
    local tool=$1 name=${1//[^a-z]/_}
    shift
    expect "$tool stores" "$(printf 'store;%s;george;hi; from %s\n' "$name" "$tool" | exactly "$@")" "$accepted"
    expect "$tool fetches" "$(printf 'fetch;%s\n' "$name" | exactly "$@")" \
        $'Retrieving messages...\n'"$name;george;hi; from $tool"$'\nNO MORE MESSAGES.'
    expect "$tool fetches again" "$(printf 'fetch;%s\n' "$name" | exactly "$@")" \
        $'Retrieving messages...\nNO MORE MESSAGES.'
    expect "$tool is refused" "$(printf 'delete;%s\n' "$name" | exactly "$@")" \
        $'Message declined. Bad verb\n.'
}

with 'nc -N' nc -N localhost "$port"
with 'nc over IPv4' nc -N 127.0.0.1 "$port"
if grep -q '^0*1 ' /proc/net/if_inet6 2>/dev/null; then
    with 'nc over IPv6' nc -N ::1 "$port"
else
    echo 'skip    nc over IPv6: this machine has no IPv6'
fi

dev_tcp() {
    exec {tcp}<>"/dev/tcp/localhost/$port"
    cat >&"$tcp"
    cat <&"$tcp"
    exec {tcp}>&-
}
with 'bash' dev_tcp
for tool in ncat socat; do
    if ! command -v "$tool" >/dev/null; then
        echo "skip    $tool is not installed"
        continue
    fi
    case $tool in
        ncat) with ncat ncat localhost "$port" ;;
        socat) with socat socat -t 5 - "TCP:localhost:$port" ;;
    esac
done

# The legacy client sends neither a newline nor a half-close, and waits for the reply.
exec {tcp}<>"/dev/tcp/localhost/$port"
printf 'store;old;client;no newline' >&"$tcp"
expect 'the legacy client is answered' "$(exactly cat <&"$tcp")" "$accepted"
exec {tcp}>&-
expect 'a request without a newline is answered' "$(printf 'store;Kyriakos;george;hi Kyriakos' | exactly nc -N localhost "$port")" "$accepted"

# A reader that closes the connection with most of the reply unread.
exec {tcp}<>"/dev/tcp/localhost/$port"
printf 'fetch;Kyriakos\n' >&"$tcp"
IFS= read -r -t 10 first <&"$tcp"
expect 'the reply has begun' "$first" 'Retrieving messages...'
exec {tcp}>&-
expect 'an unread message stays waiting' "$("$DROPLINE" -d "localhost:$port" -u Kyriakos read)" \
    '~george: hi Kyriakos'

end_daemon
expect 'the log has no errors or warnings' "$(grep -cE 'error:|warning:' "$dir/log" || true)" 0
