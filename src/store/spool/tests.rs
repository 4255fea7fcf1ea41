//! The spool as a whole: each promise of the interface, on a real directory.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::handle::Spool;
use super::paths::place;
use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;
use crate::store::{Delivery, Limits, Mail, Receipt, StoreError};

struct Fixture {
    dir: TempDir,
    spool: Spool,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(&dir.path().join("spool"), Limits::default()).expect("a spool");
        Self { dir, spool }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    fn mailbox(&self, name: &str) -> PathBuf {
        self.path().join("mail").join(&*place(&n(name)))
    }

    fn store(&self, to: &str, body: &[u8]) -> u64 {
        store(&self.spool, to, body, None).expect("stored")
    }

    /// What waits for `of`: number and body of each message. Acknowledges up to `ack`.
    fn fetch(&self, of: &str, ack: Option<u64>) -> Vec<(u64, Vec<u8>)> {
        fetch(&self.spool, of, ack)
    }
}

fn n(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

fn store(spool: &Spool, to: &str, body: &[u8], expires: Option<u64>) -> Result<u64, StoreError> {
    let to = &n(to);
    let draft = Draft {
        id: MessageId::random().expect("an id"),
        from: &n("tester"),
        trust: Trust::Open,
        at: 1,
        expires,
        once: false,
        body,
        fields: Fields::default(),
    };
    let receipts = spool.deliver(&[Delivery { to, draft }]);
    receipts
        .into_iter()
        .next()
        .expect("an outcome")
        .map(|receipt| receipt.seq)
}

fn fetch(spool: &Spool, of: &str, ack: Option<u64>) -> Vec<(u64, Vec<u8>)> {
    let mut lease = spool.fetch(&n(of)).expect("fetched").expect("a mailbox");
    let mut all = Vec::new();
    while let Some(message) = lease.next().expect("readable") {
        all.push((message.seq, message.body.to_vec()));
    }
    if let Some(seq) = ack {
        lease.acknowledge(seq).expect("acknowledged");
    }
    all
}

fn names_below(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let name = |e: std::io::Result<std::fs::DirEntry>| e.expect("an entry").file_name();
    entries
        .map(|e| name(e).to_string_lossy().into_owned())
        .collect()
}

/// How long a mailbox is.
fn len(path: &Path) -> usize {
    records(path).len()
}

/// The bytes of a mailbox up to the end of its records: without the zeros that are behind them.
fn records(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).expect("a mailbox");
    let last = bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .expect("something");
    bytes.truncate((last + 1).next_multiple_of(8));
    bytes
}

#[test]
fn messages_wait_in_order_until_they_are_acknowledged() {
    let f = Fixture::new();
    assert!(
        f.spool.fetch(&n("bob")).expect("fetched").is_none(),
        "no mailbox yet"
    );
    for (seq, body) in [(1, "one"), (2, "two"), (3, "three")] {
        assert_eq!(f.store("bob", body.as_bytes()), seq);
    }
    let all = vec![
        (1, b"one".to_vec()),
        (2, b"two".to_vec()),
        (3, b"three".to_vec()),
    ];
    assert_eq!(f.fetch("bob", None), all);
    assert_eq!(f.fetch("bob", Some(2)), all, "the same again");
    assert_eq!(
        f.fetch("bob", Some(1)),
        all[2..],
        "an old number takes nothing back"
    );
    assert_eq!(f.store("bob", b"four"), 4);
    assert_eq!(
        f.fetch("bob", Some(4)),
        [(3, b"three".to_vec()), (4, b"four".to_vec())]
    );
    assert_eq!(f.fetch("bob", None), []);
    assert_eq!(f.store("bob", b"five"), 5, "no number is used twice");
}

#[test]
fn several_who_keep_a_mailbox_open_do_not_get_into_each_others_way() {
    let f = Fixture::new();
    let others: Vec<_> = (0..3)
        .map(|_| Spool::look_at(&f.path()).expect("the spool").0)
        .collect();
    let mut expected = 0;
    for round in 0..30 {
        for spool in &others {
            expected += 1;
            assert_eq!(store(spool, "bob", b"x", None).expect("stored"), expected);
        }
        if round % 10 == 9 {
            // It is replaced by a copy of itself; what is open is not it any more.
            crate::store::Care::repair(&f.spool, &n("bob")).expect("written anew");
        }
        // More mailboxes than are kept open.
        for other in 0..10 {
            f.store(&format!("m{other}"), b"x");
        }
    }
    let numbers = f.fetch("bob", None).into_iter().map(|(seq, _)| seq);
    assert!(numbers.eq(1..=expected));
    assert_eq!(f.fetch("m9", None).len(), 30);
}

#[test]
fn a_spool_is_found_again_as_it_was() {
    let f = Fixture::new();
    f.store("bob", &vec![b'x'; 1 << 20]);
    f.store("bob", b"two");
    let Fixture { dir, spool } = f;
    drop(spool);
    let spool = Spool::open(&dir.path().join("spool"), Limits::default()).expect("the same spool");
    let found = fetch(&spool, "bob", None);
    assert_eq!(
        found
            .iter()
            .map(|(seq, body)| (*seq, body.len()))
            .collect::<Vec<_>>(),
        [(1, 1 << 20), (2, 3)]
    );
}

#[test]
fn one_daemon_a_spool() {
    let f = Fixture::new();
    let error = Spool::open(&f.path(), Limits::default())
        .expect_err("refused")
        .to_string();
    let pid = std::process::id();
    assert!(
        error.contains(&format!("process {pid} works on it already")),
        "{error}"
    );
}

#[test]
fn what_is_no_spool_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("thesis.tex"), "x").expect("written");
    let error = Spool::open(dir.path(), Limits::default())
        .expect_err("refused")
        .to_string();
    assert!(error.contains("thesis.tex"), "{error}");
    assert_eq!(names_below(dir.path()), ["thesis.tex"]);
}

#[test]
fn another_format_is_refused() {
    let f = Fixture::new();
    f.store("bob", b"one");
    let Fixture { dir, spool } = f;
    drop(spool);
    let path = dir.path().join("spool");
    let format = path.join("FORMAT");
    let before = std::fs::read(&format).expect("a format");
    std::fs::write(&format, "dropline spool 2\n").expect("written");
    let error = Spool::open(&path, Limits::default())
        .expect_err("refused")
        .to_string();
    assert!(error.contains("dropline spool 2"), "{error}");
    std::fs::remove_file(&format).expect("removed");
    let error = Spool::open(&path, Limits::default())
        .expect_err("refused")
        .to_string();
    assert!(error.contains("FORMAT is gone"), "{error}");
    std::fs::write(&format, before).expect("written");
    Spool::open(&path, Limits::default()).expect("as it was");
}

#[test]
fn a_spool_that_others_may_enter_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let mode = |mode| std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode));
    mode(0o755).expect("changed");
    drop(
        Spool::open(dir.path(), Limits::default())
            .expect("an empty directory is closed to others, and used"),
    );
    mode(0o750).expect("changed");
    let error = Spool::open(dir.path(), Limits::default())
        .expect_err("refused")
        .to_string();
    assert!(error.contains("chmod 0700"), "{error}");
}

#[test]
fn a_second_reader_is_told_that_the_mailbox_is_busy() {
    let f = Fixture::new();
    f.store("bob", b"one");
    let lease = f.spool.fetch(&n("bob")).expect("fetched");
    assert!(matches!(f.spool.fetch(&n("bob")), Err(StoreError::Busy)));
    assert_eq!(
        f.store("bob", b"two"),
        2,
        "a writer does not wait for a reader"
    );
    drop(lease);
    assert_eq!(f.fetch("bob", None).len(), 2);
}

#[test]
fn a_mailbox_grows_by_blocks_and_few_appends_make_it_longer() {
    let f = Fixture::new();
    let mut lengths = std::collections::BTreeSet::new();
    for round in 0..100 {
        // By processes that know what was there before, and by such that do not.
        let other = Spool::look_at(&f.path()).expect("the same spool").0;
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
fn expired_messages_are_not_handed_out() {
    let f = Fixture::new();
    store(&f.spool, "bob", b"stale", Some(1)).expect("stored");
    store(&f.spool, "bob", b"fresh", Some(u64::MAX)).expect("stored");
    assert_eq!(f.fetch("bob", None), [(2, b"fresh".to_vec())]);
}

#[test]
fn a_torn_tail_of_any_length_is_mended_before_the_next_append() {
    let f = Fixture::new();
    f.store("bob", b"one");
    let before = len(&f.mailbox("bob"));
    f.store("bob", b"two");
    let whole = records(&f.mailbox("bob"));
    for cut in before..whole.len() {
        let mut torn = whole[..cut].to_vec();
        if cut % 3 == 0 {
            // As some file systems leave it: the length is there, the bytes are not.
            torn.resize(if cut % 2 == 0 { 4_096 } else { whole.len() }, 0);
        }
        std::fs::write(f.mailbox("bob"), &torn).expect("written");
        assert_eq!(f.fetch("bob", None), [(1, b"one".to_vec())], "cut at {cut}");
        // As after a crash: by a process that does not know what was there before.
        let after = Spool::look_at(&f.path()).expect("the same spool").0;
        let seq = store(&after, "bob", b"new", None).expect("stored");
        assert_eq!(seq, 2, "cut at {cut}");
        assert_eq!(
            f.fetch("bob", None),
            [(1, b"one".to_vec()), (2, b"new".to_vec())]
        );
    }
    assert_eq!(
        names_below(&f.path().join("quarantine")),
        [format!("bob@{before}")]
    );
}

#[test]
fn a_mailbox_whose_first_write_was_cut_off_is_begun_again() {
    let f = Fixture::new();
    f.store("bob", b"one");
    let whole = records(&f.mailbox("bob"));
    for cut in 0..whole.len() {
        std::fs::write(f.mailbox("bob"), &whole[..cut]).expect("written");
        assert_eq!(f.store("bob", b"new"), 1, "cut at {cut}");
        assert_eq!(f.fetch("bob", None), [(1, b"new".to_vec())], "cut at {cut}");
        std::fs::write(f.mailbox("bob"), vec![0; cut]).expect("written");
        assert_eq!(f.store("bob", b"new"), 1, "{cut} zeros");
    }
}

#[test]
fn valid_messages_behind_a_bad_region_are_kept() {
    let f = Fixture::new();
    let mut ends = Vec::new();
    for body in ["one", "two", "three", "four"] {
        f.store("bob", body.as_bytes());
        ends.push(len(&f.mailbox("bob")));
    }
    let mut bytes = std::fs::read(f.mailbox("bob")).expect("a mailbox");
    bytes[ends[0] + 70] ^= 1;
    bytes.truncate(ends[3] - 1);
    std::fs::write(f.mailbox("bob"), &bytes).expect("written");
    assert_eq!(f.store("bob", b"five"), 4);
    let expected = [
        (1, b"one".to_vec()),
        (3, b"three".to_vec()),
        (4, b"five".to_vec()),
    ];
    assert_eq!(f.fetch("bob", None), expected);
}

#[test]
fn a_mailbox_without_a_header_is_damaged_and_the_others_are_not() {
    let f = Fixture::new();
    f.store("bob", b"one");
    f.store("alice", b"one");
    let mut bytes = std::fs::read(f.mailbox("bob")).expect("a mailbox");
    bytes[..1024].fill(0xff);
    std::fs::write(f.mailbox("bob"), &bytes).expect("written");
    let error = f.spool.fetch(&n("bob")).err().expect("damaged");
    let path = f.mailbox("bob");
    assert!(
        error
            .to_string()
            .starts_with(&format!("{} is damaged at byte 0", path.display()))
    );
    assert!(matches!(
        store(&f.spool, "bob", b"x", None),
        Err(StoreError::Damaged { .. })
    ));
    assert_eq!(
        std::fs::read(f.mailbox("bob")).expect("a mailbox"),
        bytes,
        "nothing is touched"
    );
    assert_eq!(f.store("alice", b"two"), 2);
}

#[test]
fn many_writers_and_a_reader_lose_and_double_nothing() {
    const WRITERS: u32 = 8;
    const EACH: u32 = 100;
    let f = Fixture::new();
    f.store("bob", b"0 0");
    let mut got = Vec::new();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=WRITERS)
            .map(|writer| {
                let f = &f;
                scope.spawn(move || {
                    for i in 0..EACH {
                        f.store("bob", format!("{writer} {i}").as_bytes());
                    }
                })
            })
            .collect();
        loop {
            let finished = writers.iter().all(|writer| writer.is_finished());
            let batch = f.fetch("bob", Some(u64::MAX));
            if batch.is_empty() && finished {
                break;
            }
            got.extend(batch);
        }
    });
    assert_eq!(u32::try_from(got.len()), Ok(WRITERS * EACH + 1));
    assert!(
        got.iter()
            .map(|(seq, _)| *seq)
            .eq(1..=u64::from(WRITERS * EACH + 1))
    );
    for writer in 1..=WRITERS {
        let prefix = format!("{writer} ");
        let own = got
            .iter()
            .filter(|(_, body)| body.starts_with(prefix.as_bytes()));
        let expected = (0..EACH).map(|i| format!("{writer} {i}").into_bytes());
        assert!(
            own.map(|(_, body)| body.clone()).eq(expected),
            "writer {writer} in order"
        );
    }
}

/// What a writer remembers of the end of a mailbox is forgotten, and reads as zeros, when all that was written since
/// has been read and forgotten as well.
#[test]
fn a_writer_that_comes_back_late_does_not_write_into_what_was_given_back() {
    let f = Fixture::new();
    let others = Spool::look_at(&f.path()).expect("the same spool").0;
    // The ends of the first messages of the late one lie everywhere in a block, on its boundary, too.
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
        // They are old, so that they are no history.
        let read = fetch(&others, &name, Some(u64::MAX));
        assert_eq!(read.len(), late + 1_000);
        let path = f.mailbox(&name);
        let from = 4_096;
        assert!(
            std::fs::read(&path).expect("a mailbox")[from..from + 32_768]
                .iter()
                .all(|&byte| byte == 0),
            "it was given back"
        );
        let seq = f.store(&name, b"late");
        assert_eq!(seq, late as u64 + 1_001);
        assert_eq!(f.fetch(&name, None), [(seq, b"late".to_vec())], "{late}");
    }
}

#[test]
fn an_operator_sees_what_waits() {
    use crate::store::Survey;
    let f = Fixture::new();
    f.store("bob", b"one");
    f.store("bob", b"two");
    f.store("alice", b"one");
    f.fetch("bob", Some(1));
    f.fetch("alice", Some(1));
    let spool = Spool::look_at(&f.path()).expect("beside the daemon").0;
    assert_eq!(spool.mailboxes().expect("listed"), [n("alice"), n("bob")]);
    let queue = |name| spool.queue(&n(name)).expect("readable");
    let bob = queue("bob").expect("a mailbox");
    assert_eq!((bob.waiting, bob.oldest), (1, Some(1)));
    assert!(bob.bytes > 0);
    let alice = queue("alice").expect("a mailbox");
    assert_eq!((alice.waiting, alice.bytes, alice.oldest), (0, 0, None));
    assert_eq!(queue("carol"), None);
    let torn = records(&f.mailbox("bob"));
    std::fs::write(f.mailbox("bob"), &torn[..torn.len() - 3]).expect("written");
    assert_eq!(queue("bob").expect("a mailbox").waiting, 0);
}

/// Stores a message with an id that the sender has chosen, and may send again.
fn store_once(spool: &Spool, to: &str, from: &str, id: u8, body: &[u8]) -> Receipt {
    let draft = Draft {
        id: MessageId([id; 16]),
        from: &n(from),
        trust: Trust::Open,
        at: 1,
        expires: None,
        once: true,
        body,
        fields: Fields::default(),
    };
    let to = &n(to);
    let outcomes = spool.deliver(&[Delivery { to, draft }]);
    outcomes
        .into_iter()
        .next()
        .expect("an outcome")
        .expect("stored")
}

#[test]
fn the_same_id_from_the_same_sender_is_stored_once() {
    let f = Fixture::new();
    let new = |seq| Receipt {
        seq,
        duplicate: false,
    };
    let known = |seq| Receipt {
        seq,
        duplicate: true,
    };
    assert_eq!(store_once(&f.spool, "bob", "al", 1, b"one"), new(1));
    assert_eq!(store_once(&f.spool, "bob", "al", 1, b"one"), known(1));
    assert_eq!(
        store_once(&f.spool, "bob", "eve", 1, b"hers"),
        new(2),
        "another sender"
    );
    assert_eq!(
        store_once(&f.spool, "carol", "al", 1, b"one"),
        new(1),
        "another mailbox"
    );
    f.fetch("bob", Some(2));
    assert_eq!(
        store_once(&f.spool, "bob", "al", 1, b"one"),
        known(1),
        "after it was read"
    );
    for n in 0..4_000_u32 {
        f.store("bob", &n.to_le_bytes());
    }
    let Fixture { dir, spool } = f;
    drop(spool);
    let path = dir.path().join("spool");
    let spool = Spool::open(&path, Limits::default()).expect("the same spool");
    assert_eq!(
        store_once(&spool, "bob", "al", 1, b"one"),
        known(1),
        "after a restart"
    );
    assert_eq!(store_once(&spool, "bob", "al", 2, b"two"), new(4_003));
}

#[test]
fn ids_are_known_behind_damage_and_long_messages() {
    let f = Fixture::new();
    let long = vec![b'x'; 1 << 20];
    store_once(&f.spool, "bob", "al", 1, &long);
    let damaged = len(&f.mailbox("bob"));
    f.store("bob", b"to be damaged");
    store_once(&f.spool, "bob", "al", 2, &long);
    let mut bytes = std::fs::read(f.mailbox("bob")).expect("a mailbox");
    bytes[damaged + 3] ^= 0xff;
    bytes.splice(bytes.len()..bytes.len(), [1; 13]);
    std::fs::write(f.mailbox("bob"), &bytes).expect("written");
    assert!(store_once(&f.spool, "bob", "al", 1, &long).duplicate);
    assert!(store_once(&f.spool, "bob", "al", 2, &long).duplicate);
}

#[test]
fn a_batch_is_delivered_in_its_order_and_doubled_ids_in_it_once() {
    let f = Fixture::new();
    let (al, bob, carol) = (n("al"), n("bob"), n("carol"));
    let deliveries = [
        (&bob, 1, "b1"),
        (&carol, 2, "c1"),
        (&bob, 3, "b2"),
        (&bob, 1, "b1"),
        (&carol, 4, "c2"),
    ];
    let batch = deliveries.map(|(to, id, body)| Delivery {
        to,
        draft: Draft {
            id: MessageId([id; 16]),
            from: &al,
            trust: Trust::Local,
            at: 1,
            expires: None,
            once: true,
            body: body.as_bytes(),
            fields: Fields::default(),
        },
    });
    let outcomes = f
        .spool
        .deliver(&batch)
        .into_iter()
        .map(|outcome| outcome.expect("stored"));
    let expected = [(1, false), (1, false), (2, false), (1, true), (2, false)];
    assert!(outcomes.map(|r| (r.seq, r.duplicate)).eq(expected));
    assert_eq!(
        f.fetch("bob", None),
        [(1, b"b1".to_vec()), (2, b"b2".to_vec())]
    );
    assert_eq!(
        f.fetch("carol", None),
        [(1, b"c1".to_vec()), (2, b"c2".to_vec())]
    );
}

#[test]
fn a_full_mailbox_refuses_and_takes_again_when_it_was_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spool");
    let few = Limits {
        quota_messages: 2,
        ..Limits::default()
    };
    let spool = Spool::open(&path, few).expect("a spool");
    let full = |outcome| matches!(outcome, Err(StoreError::Quota(..)));
    store(&spool, "bob", b"one", None).expect("stored");
    store(&spool, "bob", b"two", None).expect("stored");
    assert!(full(store(&spool, "bob", b"three", None)));
    store(&spool, "carol", b"one", None).expect("another mailbox");
    fetch(&spool, "bob", Some(1));
    assert_eq!(store(&spool, "bob", b"three", None).expect("stored"), 3);
    drop(spool);
    let short = Limits {
        quota_bytes: 10_000,
        ..Limits::default()
    };
    let spool = Spool::open(&path, short).expect("a spool");
    assert!(full(store(&spool, "bob", &[b'x'; 10_000], None)));
    store(&spool, "bob", &[b'x'; 9_000], None).expect("stored");
    assert!(full(store(&spool, "bob", &[b'x'; 1_000], None)));
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

/// How many bytes of the disk a file takes.
fn blocks(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).expect("a file").blocks() * 512
}

#[test]
fn history_is_kept_and_then_its_space_is_given_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spool");
    let limits = Limits {
        history_bytes: 1 << 20,
        history_millis: u64::MAX,
        ..Limits::default()
    };
    let spool = Spool::open(&path, limits).expect("a spool");
    let mailbox = path.join("mail").join(&*place(&n("bob")));
    // Long bodies: what is forgotten is given back but for its heads.
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
    // Many short ones: the heads go, too.
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
        "that was long ago"
    );
    assert_eq!(
        fetch(&spool, "bob", Some(u64::MAX)).len(),
        1,
        "and all works on"
    );
}

#[test]
fn what_is_stale_is_forgotten_whatever_its_size() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spool");
    let limits = Limits {
        history_millis: 1_000,
        ..Limits::default()
    };
    let spool = Spool::open(&path, limits).expect("a spool");
    let mailbox = path.join("mail").join(&*place(&n("bob")));
    for _ in 0..20 {
        // Accepted in 1970, as the test's messages say.
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
        "what waits is never forgotten"
    );
}

#[test]
fn a_read_only_mailbox_refuses_for_now_and_can_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new();
    f.store("bob", b"one");
    let mode = |mode| std::fs::set_permissions(f.mailbox("bob"), PermissionsExt::from_mode(mode));
    mode(0o400).expect("changed");
    assert!(matches!(
        store(&f.spool, "bob", b"two", None),
        Err(StoreError::ReadOnly(_))
    ));
    assert_eq!(f.fetch("bob", None), [(1, b"one".to_vec())]);
    let mut lease = f
        .spool
        .fetch(&n("bob"))
        .expect("fetched")
        .expect("a mailbox");
    assert!(lease.next().expect("readable").is_some());
    assert!(matches!(lease.acknowledge(1), Err(StoreError::ReadOnly(_))));
    drop(lease);
    f.store("carol", b"others are not concerned");
    mode(0o600).expect("changed");
    assert_eq!(f.store("bob", b"two"), 2);
}

#[test]
fn ids_that_nobody_can_send_again_take_no_space() {
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
fn of_many_who_register_a_name_one_is_the_first() {
    use crate::store::{User, Users};
    let f = Fixture::new();
    let first = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|at| {
                scope.spawn({
                    let f = &f;
                    move || f.spool.register(&n("bob"), at).expect("written")
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("ended"))
            .filter(|first| *first)
            .count()
    });
    assert_eq!(first, 1);
    assert!(f.spool.register(&n("al"), 7).expect("written"));
    let users = f.spool.users().expect("readable");
    assert_eq!(users.len(), 2);
    assert_eq!(
        users[0],
        User {
            name: n("al"),
            registered: 7
        }
    );
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
