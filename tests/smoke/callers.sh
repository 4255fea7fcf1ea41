#!/usr/bin/env bash
# Tests the examples with the real programs: a cron job and a Slurm job.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"
if [ "$(id -u)" != 0 ]; then
    echo 'skip    cron and Slurm: running them needs root'
    exit 0
fi
examples=$PWD/etc/examples

# reads_at_last WHAT WANTED - waits until the messages of alice match the regular expression WANTED.
reads_at_last() {
    local seen='' line feed
    exec {feed}< <(exec "$DROPLINE" -d "localhost:$daemon_port" -u alice follow)
    started+=($!)
    until grep -qzE "$2" <<<"$seen"; do
        # cron starts jobs once a minute.
        if ! IFS= read -r -t 100 line <&"$feed"; then
            tail -n 20 "$dir"/*.log >&2 || true
            expect "$1" "$seen" "$2"
        fi
        seen+=$line$'\n'
    done
    exec {feed}<&-
    kill "${started[-1]}"
}

start_daemon "$dir" -p 0
chmod 755 "$dir" "$dir/run"

# Runs cron in a mount namespace, with our sendmail and dropline and with another crontab.
cron_calls() {
    local place
    set -e
    mount -t tmpfs tmpfs "$dir/cron"
    mkdir "$dir/cron"/{sbin,bin,tabs,jobs,work1,work2}
    mount -t overlay overlay -o "lowerdir=/usr/sbin,upperdir=$dir/cron/sbin,workdir=$dir/cron/work1" /usr/sbin
    mount -t overlay overlay -o "lowerdir=/usr/bin,upperdir=$dir/cron/bin,workdir=$dir/cron/work2" /usr/bin
    ln -sfn "$examples/cron-mailer" /usr/sbin/sendmail
    ln -sfn "$PWD/$DROPLINE" /usr/bin/dropline
    printf '%s\n' 'MAILTO=alice' '* * * * * echo disk full; echo on n12 >&2' >"$dir/cron/tabs/root"
    chmod 600 "$dir/cron/tabs/root"
    : >"$dir/cron/crontab"
    [ ! -e /etc/crontab ] || mount --bind "$dir/cron/crontab" /etc/crontab
    mount --bind "$dir/cron/jobs" /etc/cron.d
    mount --bind "$dir/cron/tabs" /var/spool/cron/crontabs
    # Make ours the daemon that the client finds by default.
    mkdir "$dir/cron/run"
    place=$dir/cron/run/dropline
    mkdir "$place"
    mount --bind "$dir/run" "$place"
    mount --rbind "$dir/cron/run" /run
    echo ready >&9
    exec cron -f 9>&-
}
need cron=cron
mkdir "$dir/cron"
export -f cron_calls
export dir examples
mkfifo "$dir/ready"
unshare --mount --propagation private bash -c cron_calls >"$dir/cron.log" 2>&1 9>"$dir/ready" &
started+=($!)
# The FIFO is closed without a line if a mount fails.
if read -r <"$dir/ready"; then
    reads_at_last 'cron reports a job' 'root: Cron <.*> echo disk full; echo on n12 >&2.*disk full.*on n12'
else
    echo "skip    cron cannot run here: $(tail -n 1 "$dir/cron.log")"
fi

if [ -n "${DROPLINE_TEST_LONG-}" ]; then
    need slurmctld=slurmctld slurmd=slurmd munged=munge sbatch=slurm-client
elif ! { command -v slurmctld && command -v slurmd && command -v munged; } >/dev/null; then
    echo 'skip    Slurm is not installed: scripts/test --long installs and tests it'
    exit 0
fi
slurm=$dir/slurm
mkdir -p "$slurm"/{state,spool,bin}
host=$(hostname -s)
ln -s "$PWD/$DROPLINE" "$slurm/bin/dropline"
# Slurm does not pass our environment to its mail program.
cat >"$slurm/mailprog" <<END
#!/bin/sh
export DROPLINE_SERVER=localhost:$daemon_port DROPLINE_USER=robot DROPLINE_STATE_DIR=$dir/state PATH=$slurm/bin:\$PATH
exec $examples/slurm-mailprog "\$@"
END
chmod 755 "$slurm/mailprog"
cat >"$slurm/slurm.conf" <<END
ClusterName=smoke
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
AuthInfo=socket=$slurm/munge.sock
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmdPidFile=$slurm/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
MailProg=$slurm/mailprog
NodeName=$host NodeAddr=127.0.0.1 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF=$slurm/slurm.conf
head -c 1024 /dev/urandom >"$slurm/munge.key"
chmod 600 "$slurm/munge.key"
munged --force --foreground --key-file="$slurm/munge.key" --socket="$slurm/munge.sock" --pid-file="$slurm/munge.pid" \
    --log-file="$slurm/munge.log" --seed-file="$slurm/munge.seed" >"$dir/munged.log" 2>&1 &
started+=($!)
eventually 30 test -S "$slurm/munge.sock"
slurmctld -D >"$dir/slurmctld.log" 2>&1 &
started+=($!)
slurmd -D >"$dir/slurmd.log" 2>&1 &
started+=($!)
is_idle() {
    sinfo -h -o %T 2>/dev/null | grep -q idle
}
if ! eventually 60 is_idle; then
    echo "Slurm does not start: $(tail -qn 1 "$dir"/{munged,slurmctld,slurmd}.log | tr '\n' ' ')" >&2
    exit 1
fi
(cd "$slurm" && printf '#!/bin/sh\nexit 3\n' | sbatch -Q --mail-type=ALL --mail-user=alice -J tell -o /dev/null)
reads_at_last 'Slurm reports a job' '~robot: Slurm Job_id=[0-9]+ Name=tell Began.*~robot: Slurm Job_id=[0-9]+ Name=tell Failed.*ExitCode 3'
