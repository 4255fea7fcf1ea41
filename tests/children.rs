//! A child that crashes or is killed does not affect other clients.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::ledger::Ledger;
use crate::support::session::Session;
use crate::support::{Daemon, counter, is_long, report, wait_until};

fn pid(number: &str) -> Pid {
    Pid::from_raw(number.parse().expect("a number"))
}

#[test]
fn a_panic_ends_only_its_child_and_is_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = dir.path().join("spool");
    let env = [("DROPLINED_PANIC", Path::new("fetch ~bob"))];
    let daemon = Daemon::with_spool(dir, &spool, "penalty_exempt = []\n", &env);
    daemon.store("bob", "al", "hi");
    let mut other = Session::of(&daemon, "carol");
    assert_eq!(daemon.ask("fetch;bob\n"), "");
    daemon.logged("a bug in this program: panicked at");
    daemon.logged("ended with status 70");
    // The source is penalized for 30 seconds. Its open sessions are not affected.
    assert_eq!(other.ask("FETCH"), "END n=0 more=0 waiting=0");
    wait_until("the source is penalized", || {
        daemon
            .ask("store;bob;al;hi\n")
            .starts_with("Message declined. Too many useless")
    });
    assert_eq!(counter(&daemon, "crashes"), 1);
}

#[test]
fn exceeding_the_memory_limit_ends_only_its_child_and_is_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = dir.path().join("spool");
    let env = [("DROPLINED_HOARD", Path::new("fetch ~bob"))];
    let daemon = Daemon::with_spool(dir, &spool, "child_memory = 67108864\n", &env);
    daemon.store("bob", "al", "hi");
    let mut other = Session::of(&daemon, "carol");
    assert_eq!(daemon.ask("fetch;bob\n"), "");
    daemon.logged("killed by SIGABRT");
    assert_eq!(counter(&daemon, "crashes"), 1);
    assert_eq!(other.ask("FETCH"), "END n=0 more=0 waiting=0");
    daemon.store("bob", "al", "it serves");
    assert_eq!(counter(&daemon, "crashes"), 1, "another child crashed");
}

#[test]
fn a_killed_child_is_logged_and_the_daemon_serves_on() {
    let daemon = Daemon::start();
    let client = daemon.say(b"\x00");
    wait_until("the client is served", || !daemon.children().is_empty());
    let child = daemon.children()[0].clone();
    kill(pid(&child), Signal::SIGKILL).expect("killed");
    wait_until("the kill is logged", || {
        daemon.log().contains("killed by SIGKILL")
    });
    drop(client);
    daemon.store("bob", "al", "hi");
}

#[test]
fn children_do_not_outlive_a_killed_master() {
    let daemon = Daemon::with("delivery_timeout = 3600\n", &[]);
    daemon.store("bob", "al", "hi");
    let client = daemon.say(b"fetch;bob\n");
    assert_ne!(client.peek(&mut [0; 8]).expect("a reply"), 0);
    let child = daemon.children()[0].clone();
    let dir = daemon.kill();
    wait_until("the child has ended", || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
    // The client stayed connected until here, so its end was not the cause.
    drop(client);
    let daemon = Daemon::in_dir(dir, "", &[]);
    assert_eq!(daemon.fetch("bob"), ["bob;al;hi"]);
}

#[test]
fn kill_9_of_children_at_any_moment_loses_nothing() {
    let (least, time) = match is_long() {
        true => (2_000, Duration::from_secs(180)),
        false => (100, Duration::ZERO),
    };
    // The ledger is compared with the history, so no message may expire from it.
    let daemon = Daemon::with("history_bytes = 1000000000000", &[]);
    daemon.store("bob", "al", "the first");
    wait_until("no child runs", || daemon.children().is_empty());
    let descriptors = daemon.proc_entries("fd");
    let ledger = Ledger::default();
    ledger.port.store(daemon.port, Ordering::SeqCst);
    let mut killed = 0;
    ledger.run(|| {
        let begun = Instant::now();
        while killed < least || begun.elapsed() < time {
            let enough = ledger.count() + 2;
            wait_until("messages are accepted", || ledger.count() >= enough);
            for child in daemon.children() {
                // The child may have exited already.
                killed += usize::from(kill(pid(&child), Signal::SIGKILL).is_ok());
            }
        }
    });
    let verdict = ledger.compare(&daemon.spool());
    report(&format!(
        "kills of children: {killed}, accepted: {}, lost: {}, duplicated: {}",
        verdict.accepted,
        verdict.missing.len(),
        verdict.doubled.len()
    ));
    verdict.must_be_clean();
    // Negative control: a message that was never stored is reported as missing.
    ledger.invent("m0", "w0 99999999");
    assert_eq!(
        ledger.compare(&daemon.spool()).missing,
        ["w0 99999999 to m0"]
    );
    wait_until("all children are reaped", || daemon.children().is_empty());
    assert_eq!(daemon.proc_entries("fd"), descriptors);
    // Some children had exited normally and were zombies when they were killed.
    let crashes = counter(&daemon, "crashes");
    assert!(
        crashes > 0 && crashes <= killed as u64,
        "{crashes} of {killed}"
    );
    daemon.store("bob", "al", "it serves");
}
