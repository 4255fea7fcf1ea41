//! Opening a spool: ownership, layout and format.

use super::*;
use crate::store::{MailboxState, Owner, OwnerRecord};

#[test]
fn a_second_daemon_is_refused() {
    let f = Fixture::new();
    let error = Spool::open(&f.path(), Limits::default())
        .expect_err("refused")
        .to_string();
    let pid = std::process::id();
    assert!(
        error.contains(&format!("process {pid} is using it")),
        "{error}"
    );
}

#[test]
fn a_directory_that_is_not_a_spool_is_refused_and_left_unchanged() {
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
    assert!(error.contains("FORMAT is missing"), "{error}");
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

/// Counts the files and directories below `dir`.
fn count_below(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).expect("a directory");
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            1 + if path.is_dir() { count_below(&path) } else { 0 }
        })
        .sum()
}

#[test]
fn a_new_spool_is_small_and_grows_with_its_mailboxes() {
    let f = Fixture::new();
    assert!(count_below(f.dir.path()) < 20);
    f.store("bob", b"one");
    // The mailbox, its folder and its lock file.
    let one = count_below(&f.path());
    f.store("bob", b"two");
    assert_eq!(count_below(&f.path()), one);
    assert!(f.spool.fetch(&n("carol")).expect("fetched").is_none());
    assert_eq!(f.spool.trace(&n("carol"), 1).expect("readable"), None);
    assert_eq!(
        count_below(&f.path()),
        one,
        "lookups create no files for a name without a mailbox"
    );
}

/// A lock file that an operator has removed guards nothing: a process that still has it open must not append
/// concurrently with one that has created a new one.
#[test]
fn a_removed_lock_file_is_not_relied_on() {
    let f = Fixture::new();
    let other = f.look();
    for round in 1..=3 {
        assert_eq!(f.store("bob", b"one"), 2 * round - 1);
        for lock in names_below(&f.path().join("lock")) {
            std::fs::remove_file(f.path().join("lock").join(lock)).expect("removed");
        }
        assert_eq!(
            store(&other, "bob", b"two", None).expect("stored"),
            2 * round
        );
        let locked = super::super::lock::lock(&f.spool.paths, &n("bob")).expect("locked");
        let named = crate::sys::file::facts(locked.file()).expect("known").named;
        assert!(named);
    }
    assert_eq!(f.fetch("bob", None).len(), 6);
}

#[test]
fn reading_a_restored_mailbox_creates_no_files() {
    let f = Fixture::new();
    let restored = f
        .spool
        .restore(&n("bob"), MailboxState::default())
        .expect("begun");
    restored.finish().expect("restored");
    let files = count_below(&f.path());
    assert_eq!(f.fetch("bob", None), []);
    assert_eq!(count_below(&f.path()), files);
}

#[test]
fn lookups_of_unknown_names_create_no_files() {
    let f = Fixture::new();
    let files = count_below(&f.path());
    let bob = n("bob");
    assert!(!f.spool.deregister(&bob).expect("nothing to do"));
    assert!(!f.spool.release(&bob).expect("nothing to do"));
    assert!(!f.spool.give_back(&bob, &|_| true).expect("nothing to do"));
    assert_eq!(f.spool.lease(&bob).expect("readable"), None);
    assert_eq!(f.spool.registered(&bob).expect("readable"), None);
    assert!(!f.spool.claimed(&bob).expect("readable"));
    assert!(f.spool.peek(&bob).expect("readable").is_none());
    assert_eq!(f.spool.queue(&bob).expect("readable"), None);
    assert_eq!(count_below(&f.path()), files);
}

#[test]
fn removed_empty_directories_are_created_again() {
    let f = Fixture::new();
    let path = f.path();
    let Fixture { dir, spool } = f;
    drop(spool);
    for name in ["quarantine", "journal"] {
        std::fs::remove_dir(path.join(name)).expect("removed");
    }
    let spool = Spool::open(&path, Limits::default()).expect("opened");
    store(&spool, "bob", b"one", None).expect("stored");
    drop(dir);
}

#[test]
fn a_spool_of_format_1_is_upgraded_with_its_contents() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = unpack_format_1(dir.path(), &[]);
    let format = || std::fs::read_to_string(path.join("FORMAT")).expect("readable");
    // A tool that inspects the spool does not upgrade it, but recovers the journal.
    let before = Contents::of(&Spool::look_at(&path, Limits::default()).expect("opened").0);
    assert!(format().starts_with("dropline spool 1\n"));
    assert_eq!(before.mailboxes.len(), 10);
    // Without reserved names, the accounts of the machine do not matter.
    let spool = Spool::open_with(&path, Limits::default(), &|_| false).expect("upgraded");
    assert!(format().starts_with("dropline spool 2\n"));
    assert_eq!(Contents::of(&spool), before);
    assert_eq!(spool.check_layout().expect("checked"), []);
    for (name, ..) in &before.mailboxes {
        assert_eq!(spool.check(name).expect("checked"), []);
    }
    // Clients have read messages of carol, and none of bob.
    for (name, used) in [("carol", true), ("bob", false)] {
        assert_eq!(spool.in_open_use(&n(name)).expect("readable"), used);
    }
    // This version recognizes ids that the older one stored.
    let id = MessageId(0x9f86_d081_884c_7d65_9a2f_eaa0_c55a_d015_u128.to_be_bytes());
    let (dave, alice) = (n("dave"), n("alice"));
    let draft = Draft {
        id,
        ..contract::draft(&alice, 0, b"hello")
    };
    let again = spool.deliver_one(Delivery { to: &dave, draft });
    assert!(again.expect("accepted").duplicate);
    assert_eq!(store(&spool, "bob", b"new", None).expect("stored"), 4);
}

#[test]
fn before_an_upgrade_a_login_keeps_the_messages_that_it_may_have_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = unpack_format_1(dir.path(), &[]);
    let spool = Spool::look_at(&path, Limits::default()).expect("opened").0;
    for name in ["alice", "carol"] {
        store(&spool, name, b"one", None).expect("stored");
        let before = fetch(&spool, name, None);
        spool.claim(&n(name), Some(7), 1).expect("claimed");
        assert_eq!(fetch(&spool, name, None), before, "{name}");
    }
    assert_eq!(spool.set_aside().expect("listed"), []);
}

#[test]
fn an_upgrade_makes_logins_the_owners_of_the_names_that_are_reserved() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spool");
    let root = n("root");
    let store_as_format_1 = || {
        let spool = Spool::open(&path, Limits::default()).expect("opened");
        store(&spool, "root", b"to a login", None).expect("stored");
        drop(spool);
        let format = "dropline spool 1\nhash crc32\nlocks 4096\nfolders 256\n";
        std::fs::write(path.join("FORMAT"), format).expect("written");
    };
    store_as_format_1();
    let open = |reserves| Spool::open_with(&path, Limits::default(), reserves).expect("upgraded");
    let spool = open(&|name| name.as_str() != "root");
    assert!(!spool.claimed(&root).expect("readable"), "it is open");
    drop(spool);
    store_as_format_1();
    let spool = open(&|_| true);
    let claims = spool.claims().expect("readable");
    assert_eq!(claims.len(), 1, "{claims:?}");
    assert_eq!((&claims[0].0, claims[0].1.uid()), (&root, Some(0)));
    drop(spool);
    // A claim without a uid gets it, whatever is reserved: the name is closed in any case.
    let unknown = Owner {
        uid: None,
        since: 5,
        in_files: false,
    };
    let spool = Spool::open(&path, Limits::default()).expect("opened");
    spool.release(&root).expect("released");
    spool
        .restore_claim(&root, OwnerRecord::Complete(unknown))
        .expect("written");
    drop(spool);
    store_as_format_1();
    let claims = open(&|_| false).claims().expect("readable");
    let known = Owner {
        uid: Some(0),
        since: 5,
        in_files: true,
    };
    assert_eq!(claims, [(root, OwnerRecord::Complete(known))]);
}
