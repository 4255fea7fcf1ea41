#!/usr/bin/env bash
# Tests the examples with the arguments and input of the programs that call them. callers.sh runs these programs.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"
start_daemon "$dir" -p 0
mkdir "$dir/bin"
ln -s "$PWD/$DROPLINE" "$dir/bin/dropline"
export PATH="$dir/bin:$PATH" DROPLINE_SERVER="localhost:$daemon_port" DROPLINE_USER=robot
export XDG_CONFIG_HOME=$dir/config
examples=$PWD/etc/examples

reads() {
    "$DROPLINE" -u "$1" read
}

# A mail in the form of cron (do_command.c).
printf '%s\n' 'From: root (Cron Daemon)' 'To: alice@host' 'Subject: Cron <root@host> backup' \
    'Content-Type: text/plain; charset=UTF-8' '' 'disk full' 'on n12' |
    "$examples/cron-mailer" -i -FCronDaemon -B8BITMIME -oem alice
expect 'a cron job is reported' "$(reads alice)" \
    $'~robot: Cron <root@host> backup\n\tdisk full\n\ton n12'

"$examples/slurm-mailprog" -s 'Slurm Job_id=17 Name=a Ended, Run time 00:01:02, COMPLETED, ExitCode 0' alice@cluster </dev/null
expect 'a Slurm job is reported' "$(reads alice)" \
    '~robot: Slurm Job_id=17 Name=a Ended, Run time 00:01:02, COMPLETED, ExitCode 0'

DROPLINE_OPERATOR=alice "$examples/on-failure" nosuch.service
expect 'a failed unit is reported' "$(reads alice | head -n 1)" '~robot: nosuch.service has failed'

if command -v git >/dev/null; then
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
    export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    git init -q --bare "$dir/repo.git"
    cp "$examples/post-receive" "$dir/repo.git/hooks/"
    git -C "$dir/repo.git" config dropline.to alice,bob
    git init -q -b main "$dir/work"
    push() {
        git -C "$dir/work" commit -q --allow-empty -m "$1"
        git -C "$dir/work" push -q "$dir/repo.git" main
        git -C "$dir/work" rev-parse main
    }
    first=$(push 'The first')
    expect 'a new branch is reported' "$(reads alice | sed 's/\t[0-9a-f]* /\t/')" \
        $'~robot: repo: refs/heads/main is now '"${first:0:12}"$'\n\tThe first'
    second=$(push 'The second')
    expect 'a push is reported' "$(reads bob | tail -n 2 | sed 's/\t[0-9a-f]* /\t/')" \
        $'~robot: repo: refs/heads/main is now '"${second:0:12}"$'\n\tThe second'
    end_daemon
    push 'While the server is away' >/dev/null 2>&1
    expect 'a push is queued while the server is down' "$("$DROPLINE" outbox | wc -l)" 2
else
    echo 'skip    git is not installed'
fi
