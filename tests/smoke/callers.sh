#!/usr/bin/env bash
# The examples, called by the programs for which they are: a minute of cron, and a job of Slurm.
# shellcheck source=tests/smoke/lib.bash
. "$(dirname "$0")/lib.bash"
if [ "$(id -u)" != 0 ]; then
    echo 'skip    cron and Slurm call nobody: this is not root'
    exit 0
fi
examples=$PWD/etc/examples
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; wait "${started[@]}" 2>/dev/null || true; end_daemon; rm -rf "$dir"' EXIT

# reads_at_last WHAT WANTED - waits until messages have come that match this, a regular expression.
reads_at_last() {
    local tries=0 seen=''
    until seen+=$("$DROPLINE" -d "localhost:$daemon_port" -u alice read) && grep -qzE "$2" <<<"$seen"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ]; then
            tail -n 20 "$dir"/*.log >&2 || true
            expect "$1" "$seen" "$2"
        fi
        sleep 1
    done
}

start_daemon "$dir" -p 0
chmod 755 "$dir" "$dir/run"

# A machine of its own for cron: its programs are this one's and ours, and its crontab is not this one's.
cron_calls() {
    local place
    mount -t tmpfs tmpfs "$dir/cron" || return 75
    mkdir "$dir/cron"/{sbin,bin,tabs,jobs,work1,work2}
    mount -t overlay overlay -o "lowerdir=/usr/sbin,upperdir=$dir/cron/sbin,workdir=$dir/cron/work1" /usr/sbin || return 75
    mount -t overlay overlay -o "lowerdir=/usr/bin,upperdir=$dir/cron/bin,workdir=$dir/cron/work2" /usr/bin || return 75
    ln -sfn "$examples/cron-mailer" /usr/sbin/sendmail
    ln -sfn "$PWD/$DROPLINE" /usr/bin/dropline
    printf '%s\n' 'MAILTO=alice' '* * * * * echo disk full; echo on n12 >&2' >"$dir/cron/tabs/root"
    chmod 600 "$dir/cron/tabs/root"
    : >"$dir/cron/crontab"
    [ ! -e /etc/crontab ] || mount --bind "$dir/cron/crontab" /etc/crontab
    mount --bind "$dir/cron/jobs" /etc/cron.d
    mount --bind "$dir/cron/tabs" /var/spool/cron/crontabs
    # The daemon of this machine, as far as the client is concerned.
    mkdir "$dir/cron/run"
    place=$dir/cron/run/dropline
    mkdir "$place"
    mount --bind "$dir/run" "$place"
    mount --rbind "$dir/cron/run" /run
    exec cron -f
}
if command -v cron >/dev/null; then
    mkdir "$dir/cron"
    export -f cron_calls
    export dir examples
    unshare --mount --propagation private bash -c cron_calls >"$dir/cron.log" 2>&1 &
    started+=($!)
    sleep 1
    if kill -0 "${started[0]}" 2>/dev/null; then
        reads_at_last 'cron tells of a job' 'root: Cron <.*> echo disk full; echo on n12 >&2.*disk full.*on n12'
    else
        echo "skip    cron is not run: $(tail -n 1 "$dir/cron.log")"
    fi
else
    echo 'skip    cron is not installed'
fi

if ! command -v slurmctld >/dev/null || ! command -v slurmd >/dev/null || ! command -v munged >/dev/null; then
    echo 'skip    Slurm is not installed'
    exit 0
fi
slurm=$dir/slurm
mkdir -p "$slurm"/{state,spool,bin}
host=$(hostname -s)
ln -s "$PWD/$DROPLINE" "$slurm/bin/dropline"
# Slurm gives its mail program an environment of its own.
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
until [ -S "$slurm/munge.sock" ] || ! kill -0 $! 2>/dev/null; do sleep 0.1; done
slurmctld -D >"$dir/slurmctld.log" 2>&1 &
started+=($!)
slurmd -D >"$dir/slurmd.log" 2>&1 &
started+=($!)
tries=0
until sinfo -h -o %T 2>/dev/null | grep -q idle; do
    tries=$((tries + 1))
    if [ "$tries" -gt 30 ]; then
        echo "skip    Slurm does not come up here: $(tail -qn 1 "$dir"/{munged,slurmctld,slurmd}.log | tr '\n' ' ')"
        exit 0
    fi
    sleep 1
done
(cd "$slurm" && printf '#!/bin/sh\nexit 3\n' | sbatch -Q --mail-type=ALL --mail-user=alice -J tell -o /dev/null)
reads_at_last 'Slurm tells of a job' '~robot: Slurm Job_id=[0-9]+ Name=tell Began.*~robot: Slurm Job_id=[0-9]+ Name=tell Failed.*ExitCode 3'
