#!/usr/bin/env bash
# Tests the manual pages: they render without warnings, and describe all flags, commands, keys and counters.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"

ctl=target/release/droplinectl
rendered=
if command -v mandoc >/dev/null; then
    for page in etc/man/*.[1-9]; do
        # From the level of warnings up: lower levels report style and missing cross references.
        said=$(mandoc -T lint -W warning "$page" 2>&1) || true
        expect "$page has no warnings" "$said" ''
        mandoc -T ascii -O width=200 "$page" | col -b >"$dir/$(basename "$page")"
    done
    rendered=1
fi
if command -v man >/dev/null && command -v groff >/dev/null; then
    for page in etc/man/*.[1-9]; do
        said=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null)
        expect "$page has no warnings in groff" "$said" ''
        [ -n "$rendered" ] || MANWIDTH=200 man -l -E ascii "$page" | col -b >"$dir/$(basename "$page")"
    done
    rendered=1
fi
if [ -z "$rendered" ]; then
    echo 'skip    the manual pages: neither mandoc nor groff is installed'
    exit 0
fi

# says PAGE WORD - fails unless the page contains WORD as a separate word.
says() {
    if ! grep -qE -- "(^|[^A-Za-z0-9_-])$2([^A-Za-z0-9_-]|$)" "$dir/$1"; then
        echo "$1 does not contain $2" >&2
        exit 1
    fi
}

# Every flag and every command of a program.
# flags HELP - prints the long and short flags in a help text.
flags() {
    grep -E '^ +-' <<<"$1" | grep -oE -- '(^| )--?[A-Za-z][A-Za-z-]*' | tr -d ' ' | sort -u
}
for flag in $(flags "$("$DROPLINED" --help)"); do
    says droplined.8 "$flag"
done
commands=$("$ctl" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
expect 'the number of commands of droplinectl is plausible' "$(wc -w <<<"$commands" | tr -d ' ' | grep -cE '^(1[0-9]|[2-9][0-9])$')" 1
for flag in $(flags "$("$ctl" --help)"); do
    says droplinectl.8 "$flag"
done
for command in $commands; do
    says droplinectl.8 "$command"
    for flag in $(flags "$("$ctl" "$command" --help 2>&1 || true)"); do
        says droplinectl.8 "$flag"
    done
done

commands=$("$DROPLINE" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
expect 'the number of commands of dropline is plausible' "$(wc -w <<<"$commands" | tr -d ' ' | grep -cE '^1[0-9]$')" 1
for flag in $(flags "$("$DROPLINE" --help)"); do
    says dropline.1 "$flag"
done
for command in $commands; do
    [ "$command" != help ] || continue
    says dropline.1 "$command"
    for flag in $(flags "$("$DROPLINE" "$command" --help)"); do
        says dropline.1 "$flag"
    done
done
for variable in SERVER USER SOURCE DIALECT COLOUR STATE_DIR; do
    says dropline.1 "DROPLINE_$variable"
done

# Every key of the configuration with its default, and the range of every number.
keys=0
while IFS= read -r line; do
    keys=$((keys + 1))
    key=${line%% *}
    entry=$(sed -n "/^ *$key = /,/^\$/p" "$dir/droplined.toml.5")
    expect "the default of $key" "$(sed -n '1s/^ *//p' <<<"$entry")" "$line"
    case $line in
        *' = '[0-9]*)
            echo "$key = -1" >"$dir/wrong.toml"
            range=$("$DROPLINED" --check --config "$dir/wrong.toml" 2>&1 |
                sed -n 's/.*out of range: \(.*\) are allowed/\1/p') || true
            range=${range/ to 9223372036854775807/ or more}
            [ -n "$range" ] || expect "the range of $key" '' 'one'
            if ! tr -s ' \t\n' ' ' <<<"$entry" | grep -qF "$range"; then
                expect "the range of $key" "$entry" "$range"
            fi
            ;;
    esac
done < <(grep -E '^[a-z_]+ = ' etc/droplined.toml)
expect 'the number of keys is plausible' "$((keys > 20))" 1

# Every counter of the daemon.
start_daemon "$dir" -p 0
counters=$("$ctl" --run-dir "$dir/run" metrics | sed -n 's/^# TYPE dropline_\(.*\) \(counter\|gauge\)$/\1/p')
end_daemon
for counter in $counters; do
    case $counter in
        *_total) says droplinectl.8 "${counter%_total}" ;;
        *) says droplinectl.8 "dropline_$counter" ;;
    esac
done
