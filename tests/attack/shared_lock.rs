//! Searches for ids in a full mailbox do not delay a mailbox that shares its lock file.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::session::Session;
use crate::support::{Daemon, report};

/// The number of lock files of a spool.
const LOCKS: u32 = 4_096;
/// The number of messages that a search for an id reads.
const SEARCHED: usize = 4_096;
const LEN: usize = 16_384;
/// The number of messages that a session stores together.
const BATCH: usize = 256;

/// Returns the CRC-32 of `bytes`.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}

/// Returns a name that shares the lock file of `name`.
fn that_shares_the_lock(name: &str) -> String {
    let lock = crc32(name.as_bytes()) % LOCKS;
    let mut others = (0..).map(|number| format!("evil{number}"));
    let found = others.find(|other| crc32(other.as_bytes()) % LOCKS == lock);
    found.expect("endless")
}

/// Returns a pipeline of messages with ids from `first` on.
fn pipeline(to: &str, first: usize, body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for id in first..first + BATCH {
        let head = format!("SEND {to} {} id={id:032x}\n", body.len());
        all.extend([head.as_bytes(), body, b"\n"].concat());
    }
    all
}

#[test]
fn a_full_mailbox_does_not_delay_another_one_with_the_same_lock() {
    let daemon = Daemon::start();
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    let evil = that_shares_the_lock("victim");
    let mut session = Session::of(&daemon, "eve");
    for first in (0..SEARCHED).step_by(BATCH) {
        session.send(pipeline(&evil, first, &[b'x'; LEN]));
        assert!((0..BATCH).all(|_| session.line().starts_with("OK ")));
    }
    let (done, batches) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        for attacker in 1..=3_usize {
            let (daemon, evil, done, batches) = (&daemon, &evil, &done, &batches);
            scope.spawn(move || {
                let mut session = Session::of(daemon, "eve");
                let mut first = attacker << 32;
                while !done.load(Ordering::SeqCst) {
                    session.send(pipeline(evil, first, b"x"));
                    for _ in 0..BATCH {
                        let answer = session.line();
                        let is_answered =
                            answer.starts_with("OK ") || answer.starts_with("ERR busy");
                        assert!(is_answered, "{answer}");
                    }
                    first += BATCH;
                    batches.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for number in 0..20 {
            let begun = Instant::now();
            daemon.store("victim", "al", &format!("message {number}"));
            slowest = slowest.max(begun.elapsed());
        }
        let begun = Instant::now();
        assert_eq!(daemon.fetch("victim").len(), 20);
        slowest = slowest.max(begun.elapsed());
        while batches.load(Ordering::SeqCst) < 3 {
            std::thread::sleep(Duration::from_millis(10));
        }
        done.store(true, Ordering::SeqCst);
    });
    report(&format!(
        "slowest answer beside searches for ids: {slowest:?}"
    ));
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
