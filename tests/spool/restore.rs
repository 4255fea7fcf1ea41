//! Set-aside mailboxes: damage, full disks, holes and readers.

use std::time::Duration;

use super::super::format::header::Header;
use super::*;
use crate::store::{RestoreTo, Restored};

/// Claims `bob` for uid 7, stores `bodies`, releases the name and claims it again.
fn set_aside(f: &Fixture, bodies: &[&[u8]]) {
    f.spool.claim(&n("bob"), Some(7), 1).expect("claimed");
    for body in bodies {
        f.store("bob", body);
    }
    f.spool.release(&n("bob")).expect("released");
    f.spool.claim(&n("bob"), Some(7), 1).expect("claimed");
}

fn restore(f: &Fixture) -> Restored {
    let restored = f.spool.restore_set_aside(&n("bob"), RestoreTo::FormerOwner);
    restored.expect("restored")
}

/// Returns the paths of the set-aside mailboxes.
fn released(f: &Fixture) -> Vec<PathBuf> {
    let dir = f.path().join("released");
    let mut names = names_below(&dir);
    names.sort_unstable();
    names.iter().map(|name| dir.join(name)).collect()
}

/// Inverts a byte of the body of the message in the mailbox file `path` that contains `text`.
fn damage(path: &Path, text: &[u8]) {
    let mut bytes = std::fs::read(path).expect("a mailbox");
    let at = memchr::memmem::find(&bytes, text).expect("the text");
    bytes[at] ^= 0xff;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_restore_copies_damaged_bytes_to_quarantine_and_reuses_no_number() {
    let f = Fixture::new();
    set_aside(&f, &[b"a damaged one", b"two"]);
    damage(&released(&f)[0], b"a damaged one");
    f.store("bob", b"three");
    f.store("bob", b"a damaged last one");
    damage(&f.mailbox("bob"), b"a damaged last one");
    assert_eq!(restore(&f).messages, 1);
    // The damaged message had number 4.
    let expected = [(3, b"three".to_vec()), (5, b"two".to_vec())];
    assert_eq!(f.fetch("bob", None), expected);
    assert_eq!(names_below(&f.path().join("quarantine")).len(), 2);
}

#[test]
fn a_mailbox_that_became_read_only_during_a_restore_can_be_repaired() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new();
    set_aside(&f, &[b"one"]);
    f.store("bob", b"two");
    let mailbox = f.spool.paths.mailbox(&n("bob")).expect("opened");
    let mailbox = mailbox.expect("a mailbox");
    let header = Header::read(&mailbox).expect("readable");
    let header = Header {
        restored: true,
        ..header.expect("a header")
    };
    header.write_next(&mailbox).expect("written");
    let mode = PermissionsExt::from_mode(0o400);
    std::fs::set_permissions(f.mailbox("bob"), mode).expect("changed");
    let refused = f.spool.restore_set_aside(&n("bob"), RestoreTo::FormerOwner);
    assert!(
        matches!(refused, Err(StoreError::ReadOnly(_))),
        "{refused:?}"
    );
    f.spool.repair(&n("bob")).expect("repaired");
    assert_eq!(restore(&f).messages, 1);
    assert_eq!(f.fetch("bob", None).len(), 2);
}

#[test]
fn a_new_owner_without_a_user_id_gets_the_messages_on_request() {
    let f = Fixture::new();
    set_aside(&f, &[b"one"]);
    let bob = n("bob");
    f.spool.release(&bob).expect("released");
    // The clients of a socket with this name.
    f.spool.claim(&bob, None, 2).expect("claimed");
    assert_eq!(restore(&f).messages, 0);
    let restored = f.spool.restore_set_aside(&bob, RestoreTo::PresentOwner);
    assert_eq!(restored.expect("restored").messages, 1);
}

#[test]
fn a_rewritten_mailbox_does_not_reuse_the_number_of_a_damaged_last_message() {
    let f = Fixture::new();
    f.store("bob", b"a damaged one");
    damage(&f.mailbox("bob"), b"a damaged one");
    f.spool.repair(&n("bob")).expect("repaired");
    assert_eq!(names_below(&f.path().join("quarantine")).len(), 1);
    assert_eq!(f.store("bob", b"two"), 2);
}

#[test]
fn a_rewrite_of_a_mailbox_removes_a_copy_that_an_interrupted_release_has_left() {
    let f = Fixture::new();
    set_aside(&f, &[b"one"]);
    f.store("bob", b"two");
    let copy = f.path().join("released/bob@7.7");
    std::fs::copy(f.mailbox("bob"), &copy).expect("copied");
    f.spool.repair(&n("bob")).expect("repaired");
    assert!(!copy.exists());
    assert_eq!(f.spool.set_aside().expect("listed").len(), 1);
    assert_eq!(f.fetch("bob", None).len(), 1);
}

#[test]
fn an_unreadable_file_does_not_keep_the_others_set_aside() {
    let f = Fixture::new();
    set_aside(&f, &[b"one"]);
    set_aside(&f, &[b"two"]);
    let first = &released(&f)[0];
    let mut bytes = std::fs::read(first).expect("readable");
    bytes[..1024].fill(0xff);
    std::fs::write(first, bytes).expect("written");
    let Restored {
        messages,
        unreadable,
        ..
    } = restore(&f);
    assert_eq!((messages, unreadable), (1, 1));
    assert_eq!(f.fetch("bob", None), [(3, b"two".to_vec())]);
}

#[test]
fn a_full_disk_refuses_a_release_and_a_restore_and_keeps_no_temporary_file() {
    let f = Fixture::new();
    set_aside(&f, &[b"one"]);
    f.store("bob", b"two");
    let full = Limits {
        min_free_bytes: u64::MAX,
        ..Limits::default()
    };
    let full = Spool::look_at(&f.path(), full).expect("opened").0;
    let bob = n("bob");
    let released = full.release(&bob).map(drop);
    let restored = full
        .restore_set_aside(&bob, RestoreTo::FormerOwner)
        .map(drop);
    for result in [released, restored] {
        assert!(matches!(result, Err(StoreError::DiskFull(_))), "{result:?}");
    }
    let names = names_below(&f.path().join("released"));
    assert!(
        names.len() == 1 && names[0].starts_with("bob@"),
        "{names:?}"
    );
    let folder = f.mailbox("bob");
    let folder = folder.parent().expect("a folder");
    assert_eq!(names_below(folder), ["bob"]);
    assert_eq!(f.fetch("bob", None).len(), 1);
}

#[test]
fn the_holes_of_a_mailbox_take_no_space_when_it_is_set_aside() {
    let f = Fixture::with_limits(Limits {
        history_bytes: 0,
        ..Limits::default()
    });
    f.spool.claim(&n("bob"), Some(7), 1).expect("claimed");
    for _ in 0..8 {
        f.store("bob", &[b'x'; 500_000]);
    }
    f.fetch("bob", Some(7));
    f.spool.release(&n("bob")).expect("released");
    let set_aside = f.spool.set_aside().expect("listed");
    assert_eq!((set_aside[0].waiting, set_aside[0].read), (1, 0));
    assert!(set_aside[0].bytes < 1_000_000, "{set_aside:?}");
    let bytes = std::fs::metadata(&released(&f)[0]).expect("there");
    assert!(
        bytes.len() > 4_000_000,
        "the offsets are those of the mailbox"
    );
    f.spool.claim(&n("bob"), Some(7), 1).expect("claimed");
    restore(&f);
    assert_eq!(f.fetch("bob", None)[0].1.len(), 500_000);
}

#[test]
fn a_restore_waits_for_a_reader() {
    let f = Fixture::new();
    set_aside(&f, &[b"one"]);
    f.store("bob", b"two");
    let waiting = || {
        f.spool
            .queue(&n("bob"))
            .expect("readable")
            .expect("a mailbox")
            .waiting
    };
    let reader = f.spool.fetch(&n("bob")).expect("leased");
    std::thread::scope(|scope| {
        let restorer = scope.spawn(|| restore(&f));
        std::thread::sleep(Duration::from_millis(300));
        // A second reader would get the messages of the first one again.
        assert_eq!(waiting(), 1);
        drop(reader);
        assert_eq!(restorer.join().expect("ended").messages, 1);
    });
    assert_eq!(waiting(), 2);
}
