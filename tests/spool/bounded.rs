//! Work that a client can cause is bounded: under the lock of a mailbox, and in what is read for an answer.

use std::time::{Duration, Instant};

use super::*;
use crate::store::spool::lock::lock;

/// The bytes that this thread has read with read(2) and pread(2).
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/thread-self/io").expect("procfs");
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|n| n.parse().ok()).expect("a number")
}

/// Returns how many bytes `work` reads.
pub(super) fn cost(work: impl FnOnce()) -> u64 {
    let before = bytes_read();
    work();
    bytes_read() - before
}

fn draft<'a>(from: &'a Name, id: u64, trust: Trust, body: &'a [u8]) -> Draft<'a> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    Draft {
        id: MessageId(bytes),
        from,
        trust,
        at: 1_795_300_000_000,
        expires: None,
        once: true,
        body,
        fields: Fields::default(),
    }
}

/// Stores messages with these ids in one batch. Returns how many were stored before.
fn send(
    spool: &Spool,
    to: &str,
    trust: Trust,
    ids: impl Iterator<Item = u64>,
    body: &[u8],
) -> usize {
    let (to, from) = (n(to), n("al"));
    let batch: Vec<_> = ids
        .map(|id| Delivery {
            to: &to,
            draft: draft(&from, id, trust, body),
        })
        .collect();
    let outcomes = spool.deliver(&batch).into_iter();
    let receipts = outcomes.map(|outcome| outcome.expect("stored"));
    receipts.filter(|receipt| receipt.duplicate).count()
}

/// 4,096 messages of 16 KiB with ids.
fn full_mailbox(f: &Fixture, of: &str) {
    for batch in 0..16 {
        send(
            &f.spool,
            of,
            Trust::Open,
            batch * 256..(batch + 1) * 256,
            &[b'x'; 16_384],
        );
    }
}

#[test]
fn a_batch_searches_a_full_mailbox_once_and_without_its_bodies() {
    let f = Fixture::new();
    full_mailbox(&f, "bob");
    let other = f.look();
    let read = cost(|| assert_eq!(send(&other, "bob", Trust::Open, 9_000..9_256, b"x"), 0));
    assert!(
        read < 24 << 20,
        "{read} bytes: a read of heads for 256 messages is 16 MiB"
    );
    let read = cost(|| assert_eq!(send(&other, "bob", Trust::Open, 3_000..3_256, b"x"), 256));
    assert!(
        read < 32 << 20,
        "{read} bytes: with the 256 messages that are found"
    );
}

#[test]
fn a_search_for_ids_does_not_keep_the_lock() {
    let f = Fixture::new();
    full_mailbox(&f, "bob");
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::SeqCst);
    // The longest time for which the lock was held by others, against the time of the requests.
    let (mut longest, mut shortest_batch) = (Duration::ZERO, Duration::MAX);
    std::thread::scope(|scope| {
        let senders = scope.spawn(|| {
            let spool = f.look();
            let mut shortest = Duration::MAX;
            for round in 0..5_u64 {
                let begun = Instant::now();
                let ids = 10_000 + round * 256;
                send(&spool, "bob", Trust::Open, ids..ids + 256, b"x");
                shortest = shortest.min(begun.elapsed());
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            shortest
        });
        let spool = f.look();
        while !is_done() {
            let begun = Instant::now();
            drop(lock(&spool.paths, &n("bob")).expect("within a second"));
            longest = longest.max(begun.elapsed());
        }
        shortest_batch = senders.join().expect("sent");
    });
    assert!(
        longest < Duration::from_secs(1),
        "waited {longest:?} while batches took {shortest_batch:?}"
    );
}

#[test]
fn a_lock_that_is_kept_makes_requests_busy_within_seconds() {
    let f = Fixture::new();
    f.store("bob", b"one");
    let _kept = lock(&f.spool.paths, &n("bob")).expect("locked");
    let other = f.look();
    let begun = Instant::now();
    let stored = store(&other, "bob", b"two", None);
    assert!(matches!(stored, Err(StoreError::Busy)), "{stored:?}");
    assert!(matches!(other.fetch(&n("bob")), Err(StoreError::Busy)));
    assert!(matches!(
        other.register(&n("bob"), 1, &|| true),
        Err(StoreError::Busy)
    ));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn strangers_do_not_push_ids_of_verified_senders_out() {
    let f = Fixture::new();
    assert_eq!(send(&f.spool, "bob", Trust::Local, 0..3, b"verified"), 0);
    // More than twice the window, in batches and from several processes.
    let (a, b) = (f.look(), f.look());
    for round in 0..50 {
        let spool = if round % 2 == 0 { &a } else { &b };
        let ids = 1_000 + round * 200..1_200 + round * 200;
        assert_eq!(send(spool, "bob", Trust::Open, ids, b"stranger"), 0);
    }
    assert_eq!(send(&f.look(), "bob", Trust::Local, 0..4, b"verified"), 3);
    assert_eq!(
        send(&f.look(), "bob", Trust::Open, 0..3, b"verified"),
        0,
        "another trust"
    );
    assert_eq!(
        send(&f.look(), "bob", Trust::Open, 1_000..1_001, b"stranger"),
        0,
        "a stranger's"
    );
    // A copy of the mailbox keeps them.
    f.spool.repair(&n("bob")).expect("written anew");
    assert_eq!(send(&f.look(), "bob", Trust::Local, 0..4, b"verified"), 4);
    assert_eq!(f.spool.check_layout().expect("checked"), []);
}

#[test]
fn ids_of_verified_senders_outlast_their_messages() {
    // No history: what is acknowledged is dropped.
    let limits = Limits {
        history_bytes: 0,
        ..Limits::default()
    };
    let f = Fixture::with_limits(limits);
    assert_eq!(send(&f.spool, "bob", Trust::Local, 0..3, b"verified"), 0);
    for round in 0..30 {
        let ids = 1_000 + round * 200..1_200 + round * 200;
        send(&f.spool, "bob", Trust::Open, ids, b"stranger");
        f.fetch("bob", Some(u64::MAX));
    }
    assert!(
        f.spool.trace(&n("bob"), 1).expect("readable").is_none(),
        "it is forgotten"
    );
    assert_eq!(send(&f.look(), "bob", Trust::Local, 0..4, b"verified"), 3);
    // A new owner begins without them.
    f.spool.claim(&n("bob"), Some(7), 1).expect("claimed");
    assert_eq!(send(&f.look(), "bob", Trust::Local, 0..3, b"verified"), 0);
}

#[test]
fn a_remembered_id_counts_only_if_its_message_is_there() {
    let f = Fixture::new();
    send(&f.spool, "bob", Trust::Local, 0..3, &[b'v'; 3_000]);
    for round in 0..50 {
        let ids = 1_000 + round * 200..1_200 + round * 200;
        send(&f.spool, "bob", Trust::Open, ids, b"stranger");
    }
    // The middle of the first message is lost, as after a power cut.
    let mut bytes = std::fs::read(f.mailbox("bob")).expect("a mailbox");
    let hit = memchr::memmem::find(&bytes, b"vvvv").expect("there");
    bytes[hit + 500..hit + 900].fill(0);
    std::fs::write(f.mailbox("bob"), bytes).expect("written");
    assert_eq!(send(&f.look(), "bob", Trust::Local, 0..3, b"verified"), 2);
    // A damaged file of ids costs the window, and nothing else.
    let ids = f.mailbox("bob").with_file_name(".bob.ids");
    let mut bytes = std::fs::read(&ids).expect("ids");
    bytes[16] ^= 1;
    std::fs::write(&ids, bytes).expect("written");
    assert_eq!(send(&f.look(), "bob", Trust::Local, 0..3, b"verified"), 1);
}

#[test]
fn a_single_message_is_found_without_reading_the_mailbox() {
    let f = Fixture::new();
    full_mailbox(&f, "bob");
    assert!(len(&f.mailbox("bob")) > 64 << 20);
    for seq in [1, 2, 2_000, 4_096] {
        let read = cost(|| {
            let trace = f.spool.trace(&n("bob"), seq).expect("readable");
            assert_eq!(trace.expect("known").from, n("al"));
        });
        assert!(read < 4 << 20, "message {seq}: {read} bytes");
    }
    assert!(f.spool.trace(&n("bob"), 4_097).expect("readable").is_none());
    f.fetch("bob", Some(u64::MAX));
    for before in [2, 3_900, 4_000] {
        let read = cost(|| {
            let mut seen = Vec::new();
            let each = &mut |message: &crate::message::Stored<'_>| {
                seen.push(message.seq);
                seen.len() < 2
            };
            f.spool
                .history(&n("bob"), Some(before), each)
                .expect("readable");
            let kept = before > 3_000;
            assert_eq!(
                seen,
                if kept {
                    vec![before - 1, before - 2]
                } else {
                    vec![]
                }
            );
        });
        assert!(read < 4 << 20, "before {before}: {read} bytes");
    }
}

/// A torn tail is repaired from the end.
#[test]
fn a_torn_tail_of_a_full_mailbox_is_repaired_without_reading_the_mailbox() {
    let f = Fixture::new();
    full_mailbox(&f, "bob");
    let path = f.mailbox("bob");
    let end = len(&path);
    let file = std::fs::File::options()
        .write(true)
        .open(&path)
        .expect("a mailbox");
    file.set_len(end as u64 - 10).expect("cut");
    let read = cost(|| assert_eq!(store(&f.look(), "bob", b"x", None).expect("stored"), 4_096));
    assert!(read < 4 << 20, "{read} bytes");
}
