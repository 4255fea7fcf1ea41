#!/usr/bin/env bash
# Tests the files of the service: units, their exposure, account, directories, log rules, and configuration.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"

if command -v systemd-analyze >/dev/null; then
    # Replace the paths of the programs by those of the build.
    ctl=$PWD/$(dirname "$DROPLINED")/droplinectl
    for unit in etc/systemd/*; do
        sed "s#/usr/sbin/droplined#$PWD/$DROPLINED#; s#/usr/bin/droplinectl#$ctl#" "$unit" >"$dir/$(basename "$unit")"
    done
    said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$dir"/dropline*.{service,socket,timer} 2>&1) ||
        expect 'the units are valid' "$said" ''
    expect 'the units are valid' "$said" ''
    if systemd-analyze --help | grep -q -- --threshold; then
        for unit in "$dir"/*.service; do
            systemd-analyze security --no-pager --offline=true --threshold=15 "$unit" >"$dir/exposure" || {
                cat "$dir/exposure" >&2
                exit 1
            }
        done
    else
        echo 'skip    the exposure of the units: systemd-analyze has no --threshold'
    fi
else
    echo 'skip    the units: systemd-analyze is not installed'
fi

if command -v systemd-tmpfiles >/dev/null && command -v systemd-sysusers >/dev/null; then
    if [ "$(id -u)" = 0 ]; then
        # Make the account and its directories in an empty root.
        mkdir -p "$dir/root/etc"
        systemd-sysusers --root="$dir/root" "$PWD/etc/sysusers.d/dropline.conf" 2>/dev/null
        uid=$(sed -n 's/^dropline:[^:]*:\([0-9]*\):.*:\/nonexistent:.*nologin$/\1/p' "$dir/root/etc/passwd")
        systemd-tmpfiles --root="$dir/root" --create "$PWD/etc/tmpfiles.d/dropline.conf"
        expect 'the spool' "$(stat -c '%u %a' "$dir/root/var/spool/dropline")" "$uid 700"
        expect 'the run directory' "$(stat -c '%u %a' "$dir/root/run/dropline")" "$uid 755"
    else
        echo 'skip    the account and its directories: making them needs root'
    fi
else
    echo 'skip    the account and its directories: systemd-sysusers is not installed'
fi

if command -v rsyslogd >/dev/null; then
    rsyslogd -N1 -f etc/rsyslog.d/dropline.conf >"$dir/rsyslog" 2>&1 || {
        cat "$dir/rsyslog" >&2
        exit 1
    }
    # The log that these rules make is not for all users.
    {
        echo 'module(load="imuxsock" SysSock.Use="off")'
        echo "input(type=\"imuxsock\" Socket=\"$dir/syslog\")"
        sed "s#/var/log#$dir#" etc/rsyslog.d/dropline.conf
    } >"$dir/rsyslog.conf"
    (umask 022 && exec rsyslogd -n -f "$dir/rsyslog.conf" -i "$dir/rsyslogd.pid") >"$dir/rsyslog" 2>&1 &
    started+=($!)
    # hears - returns whether a line that is sent now arrives in the log.
    hears() {
        logger --socket "$dir/syslog" --tag droplined --priority daemon.info hello 2>/dev/null && [ -s "$dir/dropline.log" ]
    }
    eventually 20 hears || { cat "$dir/rsyslog" >&2 && exit 1; }
    expect 'the mode of the log' "$(stat -c %a "$dir/dropline.log")" 640
    if [ "$(id -u)" = 0 ] && getent group adm >/dev/null; then
        expect 'the group of the log' "$(stat -c %G "$dir/dropline.log")" adm
    fi
else
    echo 'skip    the rules of rsyslog: rsyslogd is not installed'
fi
if command -v logrotate >/dev/null; then
    expect 'the rules of logrotate' "$(logrotate --debug --state "$dir/state" etc/logrotate.d/dropline 2>&1 |
        grep -i '^error' || true)" ''
    # Rotation keeps the mode and the group.
    sed -e "s#/var/log#$dir#" -e '/postrotate/,/endscript/d' -e '/sharedscripts/d' etc/logrotate.d/dropline >"$dir/logrotate"
    chmod 0644 "$dir/logrotate"
    echo hello >"$dir/dropline.log"
    chmod 0644 "$dir/dropline.log"
    logrotate --force --state "$dir/state" "$dir/logrotate"
    expect 'the mode of the rotated log' "$(stat -c %a "$dir/dropline.log")" 640
else
    echo 'skip    the rules of logrotate: logrotate is not installed'
fi

expect 'the shipped configuration' "$("$DROPLINED" --check --config etc/droplined.toml 2>&1 | sed 's/.*: //')" \
    'the configuration is valid'
