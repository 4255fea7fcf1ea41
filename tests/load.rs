//! Tests with many clients at once: no message is lost or duplicated, no resource leaks.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Daemon, is_long, private_memory, report, skip, wait_until};

const WRITERS: usize = 8;
const MAILBOXES: usize = 100;
const EACH: usize = 2_500;

/// For each writer and mailbox, the numbers of the messages that were read, in order of arrival.
type Seen = HashMap<(usize, usize), Vec<usize>>;

fn note(seen: &mut Seen, mailbox: usize, lines: &[String]) {
    for line in lines {
        let fields: Vec<_> = line.split([';', ' ']).collect();
        let writer = fields[1]
            .strip_prefix('w')
            .and_then(|w| w.parse().ok())
            .expect("a writer");
        let number = fields[2].parse().expect("a number");
        seen.entry((writer, mailbox)).or_default().push(number);
    }
}

#[test]
fn every_accepted_message_is_fetched_once_and_in_order() {
    let daemon = Daemon::start();
    let finished = AtomicBool::new(false);
    let mut seen = Seen::new();
    std::thread::scope(|scope| {
        let (daemon, finished) = (&daemon, &finished);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    for number in 0..EACH {
                        // Each writer cycles through all mailboxes, from a different start.
                        let mailbox = (writer * 13 + number) % MAILBOXES;
                        daemon.store(
                            &format!("m{mailbox}"),
                            &format!("w{writer}"),
                            &format!("{number} text"),
                        );
                    }
                })
            })
            .collect();
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                scope.spawn(move || {
                    let mut seen = Seen::new();
                    while !finished.load(Ordering::SeqCst) {
                        for mailbox in (reader..MAILBOXES).step_by(2) {
                            let reply = daemon.ask(format!("fetch;m{mailbox}\n"));
                            if reply.starts_with("Retrieving") && !reply.ends_with("such name") {
                                note(&mut seen, mailbox, &crate::support::messages(&reply));
                            }
                        }
                    }
                    seen
                })
            })
            .collect();
        writers
            .into_iter()
            .for_each(|writer| writer.join().expect("a writer"));
        finished.store(true, Ordering::SeqCst);
        for reader in readers {
            seen.extend(reader.join().expect("a reader"));
        }
    });
    for mailbox in 0..MAILBOXES {
        note(&mut seen, mailbox, &daemon.fetch(&format!("m{mailbox}")));
    }
    let total: usize = seen.values().map(Vec::len).sum();
    assert_eq!(total, WRITERS * EACH, "messages were lost or duplicated");
    for ((writer, mailbox), numbers) in seen {
        let sent = (0..EACH).filter(|number| (writer * 13 + number) % MAILBOXES == mailbox);
        assert!(
            sent.eq(numbers.iter().copied()),
            "writer {writer} in mailbox {mailbox}: {numbers:?}"
        );
    }
}

#[test]
fn thousands_of_connections_leak_nothing() {
    let daemon = Daemon::start();
    let mixed = |rounds: usize| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let daemon = &daemon;
                scope.spawn(move || (0..rounds).for_each(|n| one_of_many(daemon, thread, n)));
            }
        });
        wait_until("all children are reaped", || daemon.children().is_empty());
    };
    // Warm up, so that the master has made its one-time allocations.
    mixed(1_500);
    let (fds, memory) = (daemon.proc_entries("fd"), daemon.private_memory());
    mixed(if is_long() { 25_000 } else { 2_000 });
    // The last accepted connection may not be closed yet.
    wait_until("as many descriptors are open as before", || {
        daemon.proc_entries("fd") == fds
    });
    assert_eq!(daemon.proc_entries("task"), 1, "threads");
    let after = daemon.private_memory();
    assert!(
        after <= memory + 64,
        "private memory: {memory} KiB before, {after} KiB after"
    );
    daemon.store("bob", "al", "still served");
}

/// Makes a complete connection, or one that is cut short in one of several ways.
fn one_of_many(daemon: &Daemon, thread: usize, n: usize) {
    match n % 6 {
        0 => daemon.store(&format!("t{thread}"), "al", "whole"),
        1 => drop(daemon.connect()),
        2 => drop(daemon.say(b"store;bo")),
        3 => drop(daemon.say(format!("fetch;t{thread}\n").as_bytes())),
        4 => {
            let mut stream = daemon.say(b"store;x;y;");
            // The daemon may have answered and closed by then.
            let _ = stream.write_all(&[b'z'; 3000]);
        }
        _ => assert_eq!(daemon.ask("nonsense\n"), "Message declined. Bad verb\n"),
    }
}

#[test]
fn the_master_opens_and_allocates_nothing_for_a_connection() {
    let test = "the_master_opens_and_allocates_nothing_for_a_connection";
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "strace is not installed");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let trace = dir.path().join("trace");
    let starter = ["strace", "-DD", "-qq", "-o", &trace.display().to_string()];
    // Without -f, strace traces only the master.
    let daemon = Daemon::started_by(&starter, dir, "");
    let calls = |from: usize| -> Vec<String> {
        let text = fs::read_to_string(&trace).expect("a trace");
        let names = text.lines().filter_map(|line| line.split_once('('));
        names.skip(from).map(|(name, _)| name.to_owned()).collect()
    };
    let some = || {
        for _ in 0..20 {
            daemon.store("bob", "al", "hi");
        }
        wait_until("all children are reaped", || daemon.children().is_empty());
    };
    // Warm up, so that the master has made its one-time system calls.
    some();
    let before = calls(0).len();
    some();
    wait_until("the forks are in the trace", || {
        let forks = calls(before);
        forks
            .iter()
            .filter(|name| name.starts_with("clone"))
            .count()
            == 20
    });
    // fcntl: in a debug build, the standard library checks that a descriptor is open before it closes it.
    let may = "accept4 clone clone3 close fcntl getpid getsockname gettid ppoll read recvfrom rt_sigprocmask rt_sigreturn sendto set_robust_list wait4 write";
    let mut strange = calls(before);
    strange.retain(|name| !may.split(' ').any(|may| may == name) && !name.starts_with("---"));
    strange.dedup();
    assert_eq!(strange, Vec::<String>::new());
}

#[test]
fn a_child_needs_little_memory_for_a_long_reply() {
    let megabytes = if is_long() { 1_024 } else { 64 };
    let daemon = Daemon::with("quota_bytes = 4294967296", &[]);
    let body = "x".repeat(60_000);
    for _ in 0..megabytes * 1_000_000 / 60_000 {
        daemon.store("bob", "al", &body);
    }
    let mut reader = daemon.say(b"fetch;bob\n");
    let mut most = 0;
    let mut total = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = reader.read(&mut buffer).expect("readable");
        total += n;
        if let [child] = daemon.children().as_slice() {
            most = most.max(private_memory(child).unwrap_or(0));
        }
        if n == 0 {
            break;
        }
    }
    assert!(total > megabytes * 990_000, "{total}");
    report(&format!(
        "private memory of a child that sends {megabytes} MB: {most} KiB"
    ));
    assert!(most > 0 && most < 1_024, "{most} KiB");
}
