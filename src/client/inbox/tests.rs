use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::slice;

use super::*;
use crate::message::{MessageId, Trust};

fn bob() -> Name {
    Name::new(b"bob").expect("a name")
}

fn open(dir: &Path) -> Inbox {
    Inbox::open_in(Dir::open(dir).expect("a directory"), &bob()).expect("an inbox")
}

fn message(number: u32, body: &[u8]) -> ReceivedMessage {
    ReceivedMessage {
        key: key(number, Trust::Open),
        at: 5,
        body: body.to_vec(),
    }
}

fn key(number: u32, trust: Trust) -> MessageKey {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    MessageKey {
        trust,
        from: Name::new(b"al").expect("a name"),
        id: MessageId(id),
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
    inbox.note_shown(slice::from_ref(&one.key)).expect("noted");
    assert_eq!(inbox.waiting().expect("readable"), [two]);
    assert!(inbox.knows(&one.key).expect("readable"));
    assert!(!inbox.receive(&one).expect("a duplicate"));
    let mode = |path: &Path| path.metadata().expect("there").mode() & 0o777;
    assert_eq!(mode(&dir.path().join("bob")), 0o600);
}

#[test]
fn messages_read_from_the_server_are_known() {
    let dir = place();
    let key = key(1, Trust::Open);
    open(dir.path())
        .note_shown(slice::from_ref(&key))
        .expect("noted");
    let mut inbox = open(dir.path());
    assert!(inbox.knows(&key).expect("readable"));
    assert!(!inbox.receive(&message(1, b"late")).expect("a duplicate"));
    assert_eq!(inbox.waiting().expect("readable"), []);
}

#[test]
fn a_copied_id_does_not_hide_the_message_of_another_sender() {
    let dir = place();
    let mut inbox = open(dir.path());
    let mut forged = message(1, b"forged");
    inbox.receive(&forged).expect("received");
    inbox
        .note_shown(slice::from_ref(&forged.key))
        .expect("noted");
    let verified = ReceivedMessage {
        key: key(1, Trust::Local),
        ..message(1, b"verified")
    };
    assert!(!inbox.knows(&verified.key).expect("readable"));
    assert!(inbox.receive(&verified).expect("received"));
    forged.key.from = Name::new(b"eve").expect("a name");
    assert!(inbox.receive(&forged).expect("received"));
    assert_eq!(inbox.waiting().expect("readable"), [verified, forged]);
}

/// A datagram can come again as long as its ticket is good.
#[test]
fn recent_keys_are_kept_whatever_their_number() {
    let dir = place();
    let mut inbox = open(dir.path());
    let keys = (0..).map(|number| key(number, Trust::Open));
    let keys: Vec<_> = keys.take(MOST_KEYS + 10).collect();
    let shown = |at| {
        keys.iter()
            .map(move |key| InboxEntry::Shown(key.clone(), at))
    };
    inbox.append(shown(1).collect()).expect("appended");
    inbox.rewrite().expect("rewritten");
    assert_eq!(inbox.shown.len(), MOST_KEYS, "all are old");
    assert!(!inbox.knows(&keys[0]).expect("readable"));
    inbox
        .append(shown(unix_millis()).collect())
        .expect("appended");
    inbox.rewrite().expect("rewritten");
    for at in [0, keys.len() - 1] {
        assert!(open(dir.path()).knows(&keys[at]).expect("readable"), "{at}");
    }
}

#[test]
fn each_process_reads_entries_of_the_other() {
    let dir = place();
    let (mut here, mut there) = (open(dir.path()), open(dir.path()));
    assert!(here.receive(&message(1, b"x")).expect("received"));
    assert!(!there.receive(&message(1, b"x")).expect("a duplicate"));
    there.note_shown(&[key(1, Trust::Open)]).expect("noted");
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
        here.note_shown(&[key(number, Trust::Open)]).expect("noted");
    }
    let size = std::fs::metadata(dir.path().join("bob"))
        .expect("there")
        .len();
    assert!(size < LONG, "{size}");
    assert_eq!(there.waiting().expect("readable"), [kept]);
    assert!(there.knows(&key(1, Trust::Open)).expect("readable"));
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
    inbox.note_shown(&[key(1, Trust::Open)]).expect("noted");
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
