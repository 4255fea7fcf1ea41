//! The disk space of mailboxes, and how it is freed.

use super::*;

#[test]
fn a_mailbox_grows_by_whole_blocks() {
    let f = Fixture::new();
    let mut lengths = std::collections::BTreeSet::new();
    for round in 0..100 {
        // Append with and without a cached position.
        let other = f.look();
        let spool = if round % 3 == 0 { &other } else { &f.spool };
        store(spool, "bob", &[b'x'; 100], None).expect("stored");
        let len = std::fs::metadata(f.mailbox("bob"))
            .expect("a mailbox")
            .len();
        assert!(len.is_multiple_of(4_096), "{len}");
        lengths.insert(len);
    }
    // 100 records of 200 bytes, behind a header of 1,024.
    assert_eq!(lengths.len(), (1_024_usize + 100 * 200).div_ceil(4_096));
    let all = f.fetch("bob", None);
    let numbers: Vec<u64> = all.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
}

#[test]
fn processes_that_keep_the_same_mailbox_open_do_not_interfere() {
    let f = Fixture::new();
    let others: Vec<_> = (0..3).map(|_| f.look()).collect();
    let mut expected = 0;
    for round in 0..30 {
        for spool in &others {
            expected += 1;
            assert_eq!(store(spool, "bob", b"x", None).expect("stored"), expected);
        }
        if round % 10 == 9 {
            // The mailbox is replaced by a copy, so the open descriptors are stale.
            f.spool.repair(&n("bob")).expect("written anew");
        }
        // Other mailboxes in the cache.
        for other in 0..10 {
            f.store(&format!("m{other}"), b"x");
        }
    }
    let numbers = f.fetch("bob", None).into_iter().map(|(seq, _)| seq);
    assert!(numbers.eq(1..=expected));
    assert_eq!(f.fetch("m9", None).len(), 30);
}

/// A cached position reads as zeros once its record and all later ones were acknowledged and their space freed.
#[test]
fn a_writer_with_a_stale_position_does_not_write_into_freed_space() {
    let f = Fixture::new();
    let others = f.look();
    // The stale positions are spread over a whole block, including its boundary.
    for late in 1..=45 {
        let name = format!("bob{late}");
        let body = [b'x'; 88];
        for _ in 0..late {
            f.store(&name, &body);
        }
        let (to, from) = (n(&name), n("tester"));
        let many = (0..1_000).map(|_| Delivery {
            to: &to,
            draft: Draft {
                id: MessageId::random().expect("an id"),
                from: &from,
                trust: Trust::Open,
                at: 1,
                expires: None,
                once: false,
                body: &body,
                fields: Fields::default(),
            },
        });
        let receipts = others.deliver(&many.collect::<Vec<_>>());
        assert!(receipts.iter().all(Result::is_ok));
        // The messages are dated 1970, so they are dropped from history at once.
        let read = fetch(&others, &name, Some(u64::MAX));
        assert_eq!(read.len(), late + 1_000);
        let path = f.mailbox(&name);
        let from = 4_096;
        assert!(
            std::fs::read(&path).expect("a mailbox")[from..from + 32_768]
                .iter()
                .all(|&byte| byte == 0),
            "its space was freed"
        );
        let seq = f.store(&name, b"late");
        assert_eq!(seq, late as u64 + 1_001);
        assert_eq!(f.fetch(&name, None), [(seq, b"late".to_vec())], "{late}");
    }
}

#[test]
fn a_nearly_full_disk_refuses_and_still_drains() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spool");
    let spool = Spool::open(&path, Limits::default()).expect("a spool");
    store(&spool, "bob", b"one", None).expect("stored");
    drop(spool);
    for limits in [
        Limits {
            min_free_bytes: u64::MAX,
            ..Limits::default()
        },
        Limits {
            min_free_inodes: u64::MAX,
            ..Limits::default()
        },
    ] {
        let spool = Spool::open(&path, limits).expect("a spool");
        assert!(matches!(
            store(&spool, "bob", b"two", None),
            Err(StoreError::DiskFull(_))
        ));
        assert_eq!(fetch(&spool, "bob", None), [(1, b"one".to_vec())]);
    }
    let limits = Limits {
        min_free_bytes: u64::MAX,
        ..Limits::default()
    };
    let spool = Spool::open(&path, limits).expect("a spool");
    fetch(&spool, "bob", Some(1));
    assert_eq!(fetch(&spool, "bob", None), []);
}

/// Returns how many bytes of the disk a file takes.
fn blocks(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).expect("a file").blocks() * 512
}

#[test]
fn history_is_kept_up_to_its_limit_and_then_freed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spool");
    let limits = Limits {
        history_bytes: 1 << 20,
        history_millis: u64::MAX,
        ..Limits::default()
    };
    let spool = Spool::open(&path, limits).expect("a spool");
    let mailbox = path.join("mail").join(&*place(&n("bob")));
    // Long bodies: all of a dropped message but its head is freed.
    store_once(&spool, "bob", "al", 1, &[b'x'; 60_000]);
    for _ in 0..200 {
        let seq = store(&spool, "bob", &[b'x'; 60_000], None).expect("stored");
        fetch(&spool, "bob", Some(seq));
    }
    let (logical, taken) = (
        std::fs::metadata(&mailbox).expect("a mailbox").len(),
        blocks(&mailbox),
    );
    assert!(
        logical > 12_000_000 && taken < 4_500_000,
        "{taken} bytes on the disk"
    );
    assert!(
        store_once(&spool, "bob", "al", 1, &[b'x'; 60_000]).duplicate,
        "its id is still known"
    );
    // Many short messages: their heads are freed, too.
    let (to, from) = (&n("bob"), &n("bulk"));
    let body = &[b'y'; 900];
    let draft = |number: u64| Draft {
        id: MessageId(std::array::from_fn(|at| number.to_le_bytes()[at % 8])),
        from,
        trust: Trust::Open,
        at: 1,
        expires: None,
        once: true,
        body,
        fields: Fields::default(),
    };
    for round in 0..10 {
        let batch: Vec<_> = (0..1_000)
            .map(|n| Delivery {
                to,
                draft: draft(round * 1_000 + n),
            })
            .collect();
        assert!(spool.deliver(&batch).iter().all(Result::is_ok));
        fetch(&spool, "bob", Some(u64::MAX));
    }
    let taken = blocks(&mailbox);
    assert!(
        taken < 7_000_000,
        "{taken} bytes on the disk after ten times a million"
    );
    assert!(
        !store_once(&spool, "bob", "al", 1, &[b'x'; 60_000]).duplicate,
        "its id is no longer kept"
    );
    assert_eq!(
        fetch(&spool, "bob", Some(u64::MAX)).len(),
        1,
        "the mailbox still works"
    );
}

#[test]
fn old_history_is_dropped_whatever_its_size() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spool");
    let limits = Limits {
        history_millis: 1_000,
        ..Limits::default()
    };
    let spool = Spool::open(&path, limits).expect("a spool");
    let mailbox = path.join("mail").join(&*place(&n("bob")));
    for _ in 0..20 {
        // The test messages are dated 1970.
        store(&spool, "bob", &[b'x'; 60_000], None).expect("stored");
    }
    let before = blocks(&mailbox);
    fetch(&spool, "bob", Some(19));
    assert!(
        blocks(&mailbox) < before / 4,
        "{} of {before} bytes",
        blocks(&mailbox)
    );
    assert_eq!(
        fetch(&spool, "bob", None).len(),
        1,
        "waiting messages are never dropped"
    );
}

#[test]
fn ids_of_messages_that_are_never_sent_again_take_no_space() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spool");
    let limits = Limits {
        history_bytes: 0,
        ..Limits::default()
    };
    let spool = Spool::open(&path, limits).expect("a spool");
    let mailbox = path.join("mail").join(&*place(&n("bob")));
    for _ in 0..300 {
        store(&spool, "bob", &[b'x'; 1_000], None).expect("stored");
    }
    assert!(blocks(&mailbox) > 300_000);
    fetch(&spool, "bob", Some(u64::MAX));
    assert!(
        blocks(&mailbox) <= 16_384,
        "{} bytes are left",
        blocks(&mailbox)
    );
    assert_eq!(store(&spool, "bob", b"next", None).expect("stored"), 301);
}

#[test]
fn a_batch_to_one_mailbox_waits_for_the_disk_once() {
    use crate::sys::operation_log;
    let f = Fixture::new();
    f.store("bob", b"first");
    let (to, from) = (n("bob"), n("al"));
    let draft = |id| Draft {
        id: MessageId([id; 16]),
        from: &from,
        trust: Trust::Open,
        at: 1,
        expires: None,
        once: true,
        body: b"x",
        fields: Fields::default(),
    };
    let batch: Vec<_> = (0..64)
        .map(|id| Delivery {
            to: &to,
            draft: draft(id),
        })
        .collect();
    operation_log::start();
    assert!(f.spool.deliver(&batch).iter().all(Result::is_ok));
    let ops = operation_log::take();
    let count = |which: fn(&operation_log::Op) -> bool| ops.iter().filter(|op| which(op)).count();
    assert_eq!(
        count(|op| matches!(op, operation_log::Op::Write(..))),
        1,
        "{ops:?}"
    );
    assert_eq!(
        count(|op| matches!(op, operation_log::Op::Sync(_))),
        1,
        "{ops:?}"
    );
}
