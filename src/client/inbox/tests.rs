use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::*;
use crate::message::Trust;

fn bob() -> Name {
    Name::new(b"bob").expect("a name")
}

fn open(dir: &Path) -> Inbox {
    Inbox::open_in(Dir::open(dir).expect("a directory"), &bob()).expect("an inbox")
}

fn message(number: u32, body: &[u8]) -> ReceivedMessage {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    ReceivedMessage {
        id: MessageId(id),
        from: Name::new(b"al").expect("a name"),
        trust: Trust::Open,
        at: 5,
        body: body.to_vec(),
    }
}

fn place() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn received_messages_wait_until_they_are_shown() {
    let dir = place();
    let (one, two) = (message(1, b"one"), message(2, b"two"));
    {
        let mut inbox = open(dir.path());
        assert!(inbox.receive(&one).expect("received"));
        assert!(!inbox.receive(&one).expect("a duplicate"));
        assert!(inbox.receive(&two).expect("received"));
    }
    let mut inbox = open(dir.path());
    assert_eq!(
        inbox.waiting().expect("readable"),
        [one.clone(), two.clone()]
    );
    inbox.note_shown(&[one.id]).expect("noted");
    assert_eq!(inbox.waiting().expect("readable"), [two]);
    assert!(inbox.knows(one.id).expect("readable"));
    assert!(!inbox.receive(&one).expect("a duplicate"));
    let mode = |path: &Path| path.metadata().expect("there").mode() & 0o777;
    assert_eq!(mode(&dir.path().join("bob")), 0o600);
}

#[test]
fn messages_read_from_the_server_are_known() {
    let dir = place();
    let id = message(1, b"").id;
    open(dir.path()).note_shown(&[id]).expect("noted");
    let mut inbox = open(dir.path());
    assert!(inbox.knows(id).expect("readable"));
    assert!(!inbox.receive(&message(1, b"late")).expect("a duplicate"));
    assert_eq!(inbox.waiting().expect("readable"), []);
}

#[test]
fn each_process_reads_entries_of_the_other() {
    let dir = place();
    let (mut here, mut there) = (open(dir.path()), open(dir.path()));
    assert!(here.receive(&message(1, b"x")).expect("received"));
    assert!(!there.receive(&message(1, b"x")).expect("a duplicate"));
    there.note_shown(&[message(1, b"").id]).expect("noted");
    assert_eq!(here.waiting().expect("readable"), []);
    let right = here.showing(Duration::ZERO).expect("a lock");
    assert!(right.is_some());
    assert!(there.showing(Duration::ZERO).expect("a lock").is_none());
    drop(right);
    assert!(there.showing(Duration::ZERO).expect("a lock").is_some());
}

#[test]
fn a_torn_write_is_truncated_and_earlier_entries_are_kept() {
    let dir = place();
    let path = dir.path().join("bob");
    open(dir.path())
        .receive(&message(1, b"one"))
        .expect("received");
    let whole = std::fs::read(&path).expect("readable");
    open(dir.path())
        .receive(&message(2, b"two"))
        .expect("received");
    let both = std::fs::read(&path).expect("readable");
    for cut in whole.len()..both.len() {
        std::fs::write(&path, &both[..cut]).expect("written");
        let mut inbox = open(dir.path());
        assert_eq!(inbox.waiting().expect("readable"), [message(1, b"one")]);
        assert!(inbox.receive(&message(3, b"three")).expect("received"));
        let mut again = open(dir.path());
        let expected = [message(1, b"one"), message(3, b"three")];
        assert_eq!(again.waiting().expect("readable"), expected);
        assert_eq!(again.damage(), None);
    }
}

#[test]
fn an_incomplete_file_is_initialized_again() {
    let dir = place();
    for begun in [&b""[..], b"DLIN", &[0; 16], &[0; 4096]] {
        std::fs::write(dir.path().join("bob"), begun).expect("written");
        let mut inbox = open(dir.path());
        assert!(inbox.receive(&message(1, b"x")).expect("received"));
        assert_eq!(open(dir.path()).waiting().expect("readable").len(), 1);
    }
    std::fs::write(dir.path().join("bob"), b"something else altogether").expect("written");
    let error = Inbox::open_in(Dir::open(dir.path()).expect("a directory"), &bob());
    let error = error.expect_err("no inbox").to_string();
    assert!(
        error.ends_with("/bob is not an inbox; move it away"),
        "{error}"
    );
}

#[test]
fn damage_is_reported_once_and_loses_one_message() {
    let dir = place();
    let path = dir.path().join("bob");
    let mut inbox = open(dir.path());
    for number in 1..=3 {
        inbox.receive(&message(number, b"text")).expect("received");
    }
    let file = OpenOptions::new().write(true).open(&path).expect("a file");
    file.write_all_at(b"!", HEAD as u64 + 20).expect("written");
    let mut inbox = open(dir.path());
    let left = [message(2, b"text"), message(3, b"text")];
    assert_eq!(inbox.waiting().expect("readable"), left);
    assert!(inbox.damage().is_some_and(|d| d.contains("damaged")));
    assert_eq!(inbox.damage(), None);
    let mut again = open(dir.path());
    assert_eq!(again.damage(), None, "the log was rewritten");
    assert_eq!(again.waiting().expect("readable"), left);
}

#[test]
fn a_long_log_is_rewritten_and_other_processes_follow() {
    let dir = place();
    let (mut here, mut there) = (open(dir.path()), open(dir.path()));
    let big = vec![b'x'; 60_000];
    let kept = message(0, b"not yet shown");
    here.receive(&kept).expect("received");
    for number in 1..=150 {
        here.receive(&message(number, &big)).expect("received");
        here.note_shown(&[message(number, b"").id]).expect("noted");
    }
    let size = std::fs::metadata(dir.path().join("bob"))
        .expect("there")
        .len();
    assert!(size < LONG, "{size}");
    assert_eq!(there.waiting().expect("readable"), [kept]);
    assert!(there.knows(message(1, b"").id).expect("readable"));
    assert!(!there.receive(&message(150, &big)).expect("a duplicate"));
    assert!(there.receive(&message(151, b"new")).expect("received"));
    assert_eq!(here.waiting().expect("readable").len(), 2);
}

#[test]
fn waiting_messages_are_limited() {
    let dir = place();
    let mut inbox = open(dir.path());
    let big = vec![b'x'; 1 << 20];
    let mut taken = 0;
    let error = loop {
        match inbox.receive(&message(taken, &big)) {
            Ok(_) => taken += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(error, InboxError::Full));
    assert_eq!(taken, 7);
    assert_eq!(inbox.waiting().expect("readable").len(), 7);
}

#[test]
fn junk_after_the_last_entry_is_ignored() {
    let dir = place();
    let mut inbox = open(dir.path());
    inbox.receive(&message(1, b"x")).expect("received");
    let path = dir.path().join("bob");
    let mut file = OpenOptions::new().append(true).open(path).expect("a file");
    file.write_all(&[0; 5000]).expect("written");
    assert!(inbox.receive(&message(2, b"y")).expect("received"));
    assert_eq!(open(dir.path()).waiting().expect("readable").len(), 2);
}

#[test]
fn entries_are_synced_before_the_call_returns() {
    use crate::sys::operation_log::{self, Op};
    let dir = place();
    operation_log::start();
    let mut inbox = open(dir.path());
    inbox.receive(&message(1, b"x")).expect("received");
    inbox.note_shown(&[message(1, b"").id]).expect("noted");
    let ops = operation_log::take();
    let kinds: Vec<_> = ops
        .iter()
        .map(|op| match op {
            Op::Create(..) => "create",
            Op::Write(..) => "write",
            Op::Sync(_) => "sync",
            Op::SyncDir(_) => "sync the directory",
            Op::Truncate(..) => "truncate",
            _ => "other",
        })
        .collect();
    let begun = ["create", "truncate", "write", "sync", "sync the directory"];
    let told = ["write", "sync", "write", "sync"];
    assert_eq!(kinds, [&begun[..], &told].concat());
}

#[test]
fn a_rewritten_log_is_synced_before_it_replaces_the_old_one() {
    use crate::sys::operation_log::{self, Op};
    let dir = place();
    let mut inbox = open(dir.path());
    inbox.receive(&message(1, b"kept")).expect("received");
    inbox.unclean = true;
    operation_log::start();
    inbox.waiting().expect("readable");
    let ops = operation_log::take();
    let at = |wanted: fn(&Op) -> bool| ops.iter().position(wanted).expect("done");
    let (written, synced) = (
        at(|op| matches!(op, Op::Write(..))),
        at(|op| matches!(op, Op::Sync(_))),
    );
    let (renamed, kept) = (
        at(|op| matches!(op, Op::Rename(..))),
        at(|op| matches!(op, Op::SyncDir(_))),
    );
    assert!(written < synced && synced < renamed && renamed < kept);
    assert_eq!(open(dir.path()).waiting().expect("readable").len(), 1);
}
