//! Recovery of a journal, for mailboxes that a crash or an operator has changed.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::recovery::{self, RecoveryLock, recover};
use super::settle::{self, PageCache};
use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;
use crate::store::spool::format::header::Header;
use crate::store::spool::format::record;
use crate::store::spool::handle::Spool;
use crate::store::spool::paths::place;
use crate::store::{Care, Delivery, Engine as _, Limits, Mail, Survey};
use crate::sys::operation_log::{self, Op};

/// Size of a segment in bytes. It has room for all messages of a test.
const SEGMENT: u64 = 64 * 1024;

struct Stage {
    dir: TempDir,
    spool: Spool,
}

fn n(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

fn draft(body: &str, once: bool) -> Draft<'_> {
    static FROM: std::sync::LazyLock<Name> = std::sync::LazyLock::new(|| n("al"));
    let mut id = [0; 16];
    let len = body.len().min(id.len());
    id[..len].copy_from_slice(&body.as_bytes()[..len]);
    Draft {
        id: MessageId(id),
        from: &FROM,
        trust: Trust::Open,
        at: 1,
        expires: None,
        once,
        body: body.as_bytes(),
        fields: Fields::default(),
    }
}

impl Stage {
    /// Creates a spool with a first, synced message for bob. Later messages go to the journal where possible.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let limits = Limits {
            history_bytes: 0,
            ..Limits::default()
        };
        let spool = Spool::open(&dir.path().join("spool"), limits).expect("a spool");
        let stage = Self { dir, spool };
        stage.spool.journal.set_own_log(Some(SEGMENT));
        stage.store("first");
        stage
    }

    fn path(&self) -> PathBuf {
        let mail = self.dir.path().join("spool/mail");
        mail.join(&*place(&n("bob")))
    }

    fn store(&self, body: &str) {
        self.store_all(&[body], false);
    }

    /// Stores the messages in one batch. The id of each is its text.
    fn store_all(&self, bodies: &[&str], once: bool) {
        let to = &n("bob");
        let batch: Vec<_> = bodies
            .iter()
            .map(|body| Delivery {
                to,
                draft: draft(body, once),
            })
            .collect();
        for outcome in self.spool.deliver(&batch) {
            outcome.expect("stored");
        }
    }

    /// Returns the end of the records.
    fn end(&self) -> usize {
        let bytes = self.bytes();
        let last = bytes.iter().rposition(|&byte| byte != 0);
        (1 + last.expect("something")).next_multiple_of(8)
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).expect("there")
    }

    fn set_bytes(&self, bytes: &[u8]) {
        std::fs::write(self.path(), bytes).expect("written");
    }

    /// Recovers the spool as after a crash: no other process uses it, and the journal is unchanged.
    fn recover(&self) {
        self.spool.journal.set_own_log(None);
        let right = RecoveryLock::take(self.spool.journal.dir().expect("there"));
        recover(&self.spool, &right.expect("not locked")).expect("recovered");
        assert!(
            !recovery::is_needed(&self.spool).expect("readable"),
            "it is empty"
        );
    }

    fn waiting(&self) -> Vec<String> {
        let mut lease = self
            .spool
            .fetch(&n("bob"))
            .expect("fetched")
            .expect("there");
        let mut all = Vec::new();
        while let Some(message) = lease.next().expect("readable") {
            all.push(String::from_utf8(message.body.to_vec()).expect("text"));
        }
        all
    }

    fn acknowledge_all(&self) {
        let mut lease = self
            .spool
            .fetch(&n("bob"))
            .expect("fetched")
            .expect("there");
        let mut last = 0;
        while let Some(message) = lease.next().expect("readable") {
            last = message.seq;
        }
        lease.acknowledge(last).expect("acknowledged");
    }

    fn quarantine(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("spool/quarantine"));
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let names = entries.expect("there").map(name);
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

/// Empties a full segment, as a child of the writer does. Returns whether there was one.
pub(in crate::store::spool) fn empty_full(spool: &Spool) -> bool {
    let emptied = spool.journal.with_own_log(|log| {
        let full = log.full()?;
        settle::empty(spool, log, full, PageCache::Trusted).expect("emptied");
        log.emptied(full);
        Some(())
    });
    emptied.flatten().is_some()
}

#[test]
fn lost_messages_are_written_again_in_order() {
    let stage = Stage::new();
    let synced = stage.bytes();
    for body in ["second", "third", "fourth"] {
        stage.store(body);
    }
    stage.set_bytes(&synced);
    stage.recover();
    assert_eq!(stage.waiting(), ["first", "second", "third", "fourth"]);
    stage.store("fifth");
    assert_eq!(stage.waiting().last().map(String::as_str), Some("fifth"));
    assert_eq!(stage.spool.check(&n("bob")).expect("checked"), []);
    assert!(stage.quarantine().is_empty());
    // A second recovery changes nothing.
    let before = stage.bytes();
    stage.recover();
    assert_eq!(stage.bytes(), before);
}

/// A batch is one journal entry, and the mailbox may have only a part of it.
#[test]
fn a_partly_written_batch_is_completed() {
    for lost in [40, 150, 1_000] {
        let stage = Stage::new();
        let first = stage.end();
        stage.store_all(&["second", "third"], false);
        let whole = stage.bytes();
        let mut part = whole.clone();
        let from = stage.end().saturating_sub(lost).max(first);
        part[from..].fill(0);
        stage.set_bytes(&part);
        stage.recover();
        assert_eq!(stage.waiting(), ["first", "second", "third"], "{lost}");
        assert!(stage.quarantine().is_empty());
        // The header records that a client has read the mailbox.
        let header = 1_024;
        assert!(stage.bytes()[header..] == whole[header..], "{lost}");
    }
}

/// A duplicate may have come first on a connection that broke: it is in the mailbox, but may not be durable.
#[test]
fn a_batch_with_a_duplicate_syncs_the_mailbox() {
    let stage = Stage::new();
    let is_used = || {
        operation_log::start();
        stage.store_all(&["again", "new"], true);
        let mailbox = std::fs::metadata(stage.path()).expect("there").ino();
        !operation_log::take().contains(&Op::Sync(mailbox))
    };
    assert!(is_used(), "both are new");
    assert!(!is_used(), "both were there");
    stage.store_all(&["again", "newer"], true);
    operation_log::start();
    stage.store_all(&["newer", "newest"], true);
    let mailbox = std::fs::metadata(stage.path()).expect("there").ino();
    assert!(
        operation_log::take().contains(&Op::Sync(mailbox)),
        "one was there"
    );
}

/// A lost message that was not accepted precedes one that was accepted.
#[test]
fn a_message_behind_a_gap_is_written() {
    let stage = Stage::new();
    let synced = stage.bytes();
    stage.spool.journal.set_own_log(None);
    stage.store("to be lost");
    stage.spool.journal.set_own_log(Some(SEGMENT));
    stage.store("third");
    stage.set_bytes(&synced);
    stage.recover();
    assert_eq!(stage.waiting(), ["first", "third"]);
    assert_eq!(
        stage.spool.check(&n("bob")).expect("checked"),
        [],
        "no gap is left"
    );
    stage.store("fourth");
    assert_eq!(stage.waiting(), ["first", "third", "fourth"]);
}

#[test]
fn a_torn_tail_behind_a_lost_message_is_repaired() {
    let stage = Stage::new();
    let mut torn = stage.bytes();
    stage.store("second");
    let whole = stage.bytes();
    // The mailbox has lost the message, but has a part of a later one that was not accepted.
    let end = stage.end();
    torn.resize(whole.len().max(end + 64), 0);
    torn[end..end + 64].fill(0xaa);
    stage.set_bytes(&torn);
    stage.recover();
    assert_eq!(stage.waiting(), ["first", "second"]);
    stage.store("third");
    assert_eq!(stage.waiting(), ["first", "second", "third"]);
}

#[test]
fn a_rewritten_mailbox_stays_unchanged() {
    let stage = Stage::new();
    stage.store("second");
    stage.spool.repair(&n("bob")).expect("written anew");
    let before = stage.bytes();
    stage.recover();
    assert_eq!(stage.bytes(), before);
    assert_eq!(stage.waiting(), ["first", "second"]);
    assert!(stage.quarantine().is_empty());
}

#[test]
fn acknowledged_messages_whose_space_was_freed_do_not_return() {
    let stage = Stage::new();
    stage.store("second");
    stage.acknowledge_all();
    stage.store("third");
    // No history is kept. These records are too short to free a block, so zero them as a punched hole would be.
    let file = std::fs::File::open(stage.path()).expect("there");
    let header = Header::read(&file).expect("readable").expect("a header");
    let kept = usize::try_from(header.kept_offset).expect("small");
    let mut given_back = stage.bytes();
    given_back[1_024..kept].fill(0);
    assert_ne!(given_back, stage.bytes());
    stage.set_bytes(&given_back);
    stage.recover();
    assert_eq!(stage.bytes(), given_back);
    assert_eq!(stage.waiting(), ["third"]);
}

#[test]
fn an_entry_without_its_place_goes_to_quarantine() {
    type Change = fn(&Stage);
    let changes: [(&str, Change); 4] = [
        ("removed", |stage| {
            std::fs::remove_file(stage.path()).expect("removed");
        }),
        ("emptied", |stage| stage.set_bytes(&[0; 4_096])),
        ("both headers bad", |stage| {
            let mut bytes = stage.bytes();
            bytes[4] ^= 1;
            bytes[516] ^= 1;
            stage.set_bytes(&bytes);
        }),
        // This should not happen, but if it does, neither message may be lost.
        ("another message in its place", |stage| {
            let others = stage.bytes();
            stage.spool.journal.set_own_log(None);
            let from = stage.end() - record::len_of(&draft("second", false));
            let mut cut = others.clone();
            cut[from..].fill(0);
            stage.set_bytes(&cut);
            stage.store("SECOND");
        }),
    ];
    for (what, change) in changes {
        let stage = Stage::new();
        stage.store("second");
        change(&stage);
        let before = std::fs::read(stage.path()).ok();
        stage.recover();
        let found = stage.quarantine();
        assert!(
            found.len() == 1 && found[0].starts_with("bob@") && found[0].ends_with(".journal"),
            "{what}: {found:?}"
        );
        let kept = std::fs::read(stage.dir.path().join("spool/quarantine").join(&found[0]));
        let kept = String::from_utf8_lossy(&kept.expect("there")).into_owned();
        assert!(kept.contains("second"), "{what}");
        assert_eq!(std::fs::read(stage.path()).ok(), before, "{what}");
    }
}

#[test]
fn a_read_only_mailbox_is_recovered_and_stays_read_only() {
    let stage = Stage::new();
    let synced = stage.bytes();
    stage.store("second");
    stage.set_bytes(&synced);
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(stage.path(), mode(0o400)).expect("set");
    stage.recover();
    assert_eq!(stage.waiting(), ["first", "second"]);
    let after = std::fs::metadata(stage.path())
        .expect("there")
        .permissions();
    assert_eq!(after.mode() & 0o777, 0o400);
}

/// The previous writer, or its child that emptied a segment, may have died after a disk failure.
#[test]
fn a_writer_first_settles_the_journal_of_its_predecessor() {
    for mode in [0o600, 0o400] {
        let mut stage = Stage::new();
        let synced = stage.bytes();
        stage.store("second");
        stage.store("third");
        stage.set_bytes(&synced);
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(stage.path(), permissions).expect("set");
        stage.spool.journal.set_own_log(None);
        let helper = stage.spool.prepare_helper().expect("mapped");
        let queue = helper.expect("one").queue;
        queue.drain();
        super::writer::run(&stage.spool, queue).expect("ended");
        assert!(!recovery::is_needed(&stage.spool).expect("readable"));
        assert_eq!(stage.waiting(), ["first", "second", "third"]);
        let after = std::fs::metadata(stage.path()).expect("there");
        assert_eq!(after.permissions().mode() & 0o777, mode);
        assert!(stage.quarantine().is_empty());
    }
}

/// While a daemon recovers the journal, an inspection would miss the messages that are not in the mailboxes yet.
#[test]
fn an_inspection_waits_for_the_recovery_of_the_journal() {
    let stage = Stage::new();
    let synced = stage.bytes();
    stage.store("second");
    stage.set_bytes(&synced);
    stage.spool.journal.set_own_log(None);
    let right = RecoveryLock::take(stage.spool.journal.dir().expect("there")).expect("free");
    let path = stage.dir.path().join("spool");
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || tell.send(Spool::look_at(&path, Limits::default()).map(|_| ())));
        let early = told.recv_timeout(Duration::from_millis(100));
        assert!(early.is_err(), "it waits");
        recover(&stage.spool, &right).expect("recovered");
        drop(right);
        told.recv().expect("told").expect("looked at");
    });
    assert_eq!(stage.waiting(), ["first", "second"]);
}
