//! Resources: memory, mappings, flushes, and the time of a client process.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::{self, HELLO, LINE, SEND};
use crate::report::Goal;
use crate::servers;
use crate::{Bench, Result};

/// Returns the private memory of a process, in KiB.
pub(crate) fn private(pid: u32) -> Result<f64> {
    let all = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let lines = all.lines().filter(|line| line.starts_with("Private_"));
    let numbers = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(numbers.sum())
}

impl Bench {
    /// The memory of the master, and of a child that waits for its client.
    pub(crate) fn memory(&mut self) -> Result<()> {
        let ours = servers::droplined(&self.dir("memory"), "")?;
        let bare = servers::bare(&self.dir("bare-memory"))?;
        // Pages that a child shares with its master are private to neither, so measure the master while it has no
        // child.
        load::one_shot(ours.port, 4, Duration::from_millis(300), LINE)?;
        settle(|| Ok(ours.children()?.is_empty()))?;
        let (master, mappings) = (
            private(ours.pid())?,
            fs::read_to_string(format!("/proc/{}/maps", ours.pid()))?
                .lines()
                .count(),
        );
        let mut session = load::connect(ours.port, 0)?;
        session.write_all(HELLO)?;
        let mut idle = load::connect(bare.port, 0)?;
        idle.write_all(b"store")?;
        settle(|| Ok(ours.children()?.len() == 1 && bare.children()?.len() == 1))?;
        std::thread::sleep(Duration::from_millis(200));
        let of = |server: &servers::Server| private(*server.children()?.first().ok_or("no child")?);
        let child = (of(&ours)?, of(&bare)?);
        self.report.value(
            "private memory of an idle session's child",
            "KiB",
            child.0,
            Some(("bare fork server's", child.1)),
            Some(Goal::AtMost(300.0, 150.0)),
        );
        self.report.value(
            "the master's private memory",
            "KiB",
            master,
            None,
            Some(Goal::AtMost(3072.0, 2048.0)),
        );
        self.report.value(
            "the master's mappings",
            "mappings",
            mappings as f64,
            None,
            Some(Goal::AtMost(40.0, 20.0)),
        );
        Ok(())
    }

    /// The messages per flush of the disk's cache, counted with strace.
    pub(crate) fn flushes(&mut self) -> Result<()> {
        let work = "messages per fdatasync, 1 session, 64 in flight";
        if !servers::has("strace") {
            self.report.skip(work, "strace is not installed");
            return Ok(());
        }
        let trace = self.dir("trace");
        let ours = servers::droplined_traced(&self.dir("traced"), &trace)?;
        let calls = || -> Result<usize> {
            Ok(fs::read_to_string(&trace)?
                .lines()
                .filter(|line| line.contains("fdatasync("))
                .count())
        };
        // Create the mailboxes first, because each needs further flushes for its directory entry.
        load::fill(ours.port, HELLO, 200, 1, |to, n| {
            (SEND.request)(to, n % 100)
        })?;
        let before = calls()?;
        let seen = load::pipelined(ours.port, 1, 64, self.time, HELLO, SEND)?;
        drop(ours);
        let figure = seen.count as f64 / (calls()? - before) as f64;
        self.report.value(
            work,
            "messages",
            figure,
            None,
            Some(Goal::AtLeast(16.0, 48.0)),
        );
        Ok(())
    }

    /// A hundred reloads under load.
    pub(crate) fn reloads(&mut self) -> Result<()> {
        let ours = servers::droplined(&self.dir("reloads"), "")?;
        let (port, time) = (ours.port, Duration::from_secs(3));
        let load = std::thread::spawn(move || {
            load::one_shot(port, 16, time, LINE).map_err(|e| e.to_string())
        });
        for _ in 0..100 {
            ours.signal(Signal::SIGHUP)?;
            std::thread::sleep(Duration::from_millis(25));
        }
        let seen = load.join().map_err(|_| "the load panicked")??;
        if seen.count == 0 {
            return Err("no client was served".into());
        }
        self.report.value(
            &format!(
                "refused of {} connections, over 100 SIGHUPs",
                seen.count + seen.failed
            ),
            "connections",
            seen.failed as f64,
            None,
            Some(Goal::AtMost(0.0, 0.0)),
        );
        Ok(())
    }

    /// The time of `dropline send`, compared with that of `nc`.
    pub(crate) fn command(&mut self) -> Result<()> {
        let work = "dropline send, a whole process";
        if !servers::has("nc") {
            self.report.skip(work, "nc is not installed");
            return Ok(());
        }
        let ours = servers::droplined(&self.dir("command"), "")?;
        let state = self.dir("state");
        let server = format!("127.0.0.1:{}", ours.port);
        let dropline = || {
            let mut command = Command::new(servers::program("dropline"));
            command.args([
                "-d",
                &server,
                "-u",
                "alice",
                "send",
                "bob",
                "a line of text",
            ]);
            command.env("DROPLINE_STATE_DIR", &state);
            timed(command, b"")
        };
        let nc = || {
            let mut command = Command::new("nc");
            command.args(["-N", "127.0.0.1", &ours.port.to_string()]);
            timed(command, b"store;bob;alice;a line of text\n")
        };
        // The first run loads the program from the disk.
        dropline()?;
        nc()?;
        let mut pairs = Vec::new();
        for _ in 0..if self.quick { 20 } else { 100 } {
            pairs.push((dropline()?, nc()?));
        }
        self.report.ratio(
            work,
            "nc sending the same",
            "ms",
            &pairs,
            Some(Goal::AtMost(2.0, 1.2)),
        );
        Ok(())
    }
}

impl Bench {
    /// The time from the command until a daemon with a new spool is ready.
    pub(crate) fn first_start(&mut self) -> Result<()> {
        let mut pairs = Vec::new();
        for round in 0..if self.quick { 5 } else { 15 } {
            let dir = self.dir(&format!("first-start-{round}"));
            fs::create_dir(&dir)?;
            pairs.push((start(&dir)?, ten_fsyncs(&dir)?));
        }
        self.report.ratio(
            "first start with a new spool, until it serves",
            "ten fsyncs of new files",
            "ms",
            &pairs,
            Some(Goal::AtMost(3.0, 1.5)),
        );
        Ok(())
    }
}

fn start(dir: &Path) -> Result<f64> {
    let begun = Instant::now();
    let mut daemon = servers::new_daemon(dir)
        .args(["--ready-fd", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut port = String::new();
    let ready = daemon.stdout.take().ok_or("no pipe")?;
    BufReader::new(ready).read_line(&mut port)?;
    let millis = begun.elapsed().as_secs_f64() * 1_000.0;
    let pid = i32::try_from(daemon.id())?;
    kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    daemon.wait()?;
    if port.trim().parse::<u16>().is_err() {
        return Err("the daemon does not start".into());
    }
    Ok(millis)
}

fn ten_fsyncs(dir: &Path) -> Result<f64> {
    let begun = Instant::now();
    for number in 0..10 {
        let mut file = File::create(dir.join(format!("file-{number}")))?;
        file.write_all(&[0; 200])?;
        file.sync_all()?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1_000.0)
}

/// Runs a command, which must succeed, and returns its time in milliseconds.
fn timed(mut command: Command, input: &[u8]) -> Result<f64> {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    child.stdin.take().ok_or("no pipe")?.write_all(input)?;
    let status = child.wait()?;
    if status.success() {
        Ok(begun.elapsed().as_secs_f64() * 1_000.0)
    } else {
        Err(format!("{command:?}: {status}").into())
    }
}

/// Waits up to ten seconds for a condition.
pub(crate) fn settle(is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !is_so()? {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err("a server did not reach the expected state".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
