//! Bounds the cost of a request in system calls, bytes written and instructions. These counts do not depend on the
//! speed of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::session::Session;
use crate::support::{Daemon, skip, trace, wait_until};

/// A running strace(1) of a daemon and all processes that it forks from now on.
struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    /// Starts a trace. `None` if strace is not installed or not permitted to attach.
    fn of(daemon: &Daemon) -> Option<Self> {
        let file = daemon.path().join("trace");
        let strace = trace::attach(daemon, &[], &file)?;
        Some(Self { strace, file })
    }

    /// Stops the trace. Returns the system calls of each process, by its pid.
    fn end(mut self) -> BTreeMap<u32, Vec<String>> {
        let pid = Pid::from_raw(i32::try_from(self.strace.id()).expect("a pid"));
        kill(pid, Signal::SIGINT).expect("signalled");
        self.strace.wait().expect("ended");
        let mut calls: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for line in fs::read_to_string(&self.file).expect("a trace").lines() {
            let (pid, call) = line.split_once(' ').expect("a number");
            // Skip signals, exits, and the resumed halves of calls that were traced in two parts.
            if !call.trim_start().starts_with(['<', '-', '+']) {
                let of_it = calls.entry(pid.parse().expect("a number")).or_default();
                of_it.push(call.trim_start().to_owned());
            }
        }
        calls
    }
}

/// Returns how many bytes these calls wrote to files.
fn written(calls: &[String]) -> usize {
    let writes = calls.iter().filter(|call| call.starts_with("pwrite64("));
    writes
        .filter_map(|call| call.rsplit_once("= ")?.1.parse::<usize>().ok())
        .sum()
}

#[test]
fn a_message_takes_few_system_calls_and_is_written_once() {
    let daemon = Daemon::start();
    // Makes the mailbox, and makes its name durable.
    daemon.store("bob", "alice", "one");
    wait_until("no child runs", || daemon.children().is_empty());
    let Some(trace) = Trace::of(&daemon) else {
        return skip(
            "system calls of a request",
            "strace is not installed or may not attach",
        );
    };
    const COUNT: usize = 10;
    for _ in 0..COUNT {
        daemon.store("bob", "alice", "hello");
        wait_until("no child runs", || daemon.children().is_empty());
    }
    let mut calls = trace.end();
    let master = calls.remove(&daemon.pid()).expect("the master's calls");
    assert_eq!(calls.len(), COUNT, "each message must have one child");
    for child in calls.values() {
        // Measured: 35. 5 close the master's descriptors, 1 limits signals, 6 set resource limits, 16 store the message,
        // 7 are overhead.
        assert!(
            (15..=35).contains(&child.len()),
            "{}: {child:#?}",
            child.len()
        );
        // A record: a head of 64 bytes, `alice`, `hello`, padding to a multiple of 8, and a trailer of 24 bytes.
        assert_eq!(written(child), 64 + 16 + 24, "{child:#?}");
        let syncs = child.iter().filter(|call| call.contains("sync(")).count();
        assert_eq!(syncs, 1, "{child:#?}");
    }
    // Measured: 22 for each connection. Half of them handle SIGCHLD, and 3 ask whose a connection is.
    assert!(master.len() <= 22 * COUNT, "{}: {master:#?}", master.len());
}

#[test]
fn a_message_of_a_session_takes_fewer_system_calls() {
    let daemon = Daemon::start();
    daemon.store("bob", "alice", "one");
    let calls_of = |count: usize| {
        let trace = Trace::of(&daemon)?;
        let mut session = Session::of(&daemon, "alice");
        for _ in 0..count {
            assert!(session.store("bob", "", b"hello").starts_with("OK "));
        }
        session.send("QUIT\n");
        wait_until("no child runs", || daemon.children().is_empty());
        let mut calls = trace.end();
        calls.remove(&daemon.pid());
        calls.into_values().next()
    };
    let (Some(one), Some(eleven)) = (calls_of(1), calls_of(11)) else {
        return skip(
            "system calls of a session",
            "strace is not installed or may not attach",
        );
    };
    let each = (eleven.len() - one.len()) as f64 / 10.0;
    // Measured: 13. Wait, receive, draw an id, check for a claim, check free space, lock, fstat(2), read after the last
    // record, write, unlock, sync, wake watchers, send.
    assert!((8.0..=13.0).contains(&each), "{each}: {eleven:#?}");
    assert_eq!(written(&eleven) - written(&one), 10 * (64 + 16 + 24));
}

#[test]
fn pipelined_messages_share_one_write_and_one_sync() {
    let daemon = Daemon::start();
    daemon.store("bob", "alice", "one");
    let Some(trace) = Trace::of(&daemon) else {
        return skip(
            "system calls of a batch",
            "strace is not installed or may not attach",
        );
    };
    let mut session = Session::of(&daemon, "alice");
    session.send("SEND bob 5\nhello\n".repeat(64));
    for _ in 0..64 {
        assert!(session.line().starts_with("OK "));
    }
    drop(session);
    wait_until("no child runs", || daemon.children().is_empty());
    let mut calls = trace.end();
    calls.remove(&daemon.pid());
    let child = calls.into_values().next().expect("a child");
    let of = |what: &str| child.iter().filter(|call| call.starts_with(what)).count();
    // The messages may arrive in two segments.
    assert!((1..=2).contains(&of("fdatasync(")), "{child:#?}");
    assert!((1..=2).contains(&of("pwrite64(")), "{child:#?}");
}

#[test]
fn a_request_takes_few_instructions() {
    let test = "instructions of a request";
    if Command::new("valgrind").arg("--version").output().is_err() {
        return skip(test, "valgrind is not installed");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let counts = dir.path().join("counts");
    fs::create_dir(&counts).expect("made");
    let out = format!("--callgrind-out-file={}/%p", counts.display());
    // valgrind does not allow a lower descriptor limit than at its start.
    let starter = [
        "prlimit",
        "--nofile=128:128",
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        "--toggle-collect=dropline::server::child::ChildContext::serve",
        &out,
    ];
    let config = "sandbox = \"off\"\nchild_memory = 17179869184\n";
    let daemon = Daemon::started_by(&starter, dir, config);
    for n in 1..=3 {
        daemon.store("bob", "alice", "hello");
        wait_until("the child has exited", || totals(&counts).len() == n);
    }
    let mut totals = totals(&counts);
    totals.sort_unstable();
    drop(daemon);
    // The first request makes the mailbox. Measured: 34,862 in the build of the tests.
    let (least, most) = (totals[0], totals[1]);
    assert!(
        (5_000..=42_000).contains(&least) && most <= 42_000,
        "{totals:?}"
    );
}

/// Returns the instruction count of each process that has exited and served a client.
fn totals(counts: &Path) -> Vec<u64> {
    let files = fs::read_dir(counts).expect("readable");
    let all = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    let totals = all.filter_map(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("totals: "))?;
        line.trim().parse().ok()
    });
    totals.filter(|total| *total > 0).collect()
}
