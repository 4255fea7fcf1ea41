//! Owner records and set-aside mailboxes on the disk.

use std::time::Duration;

use super::*;
use crate::message::{LeaseToken, Speaks};
use crate::store::{FormerOwner, Lease, OwnerRecord, RestoreTo};
use crate::sys::clock::{Deadline, boot_millis, unix_millis};
use crate::sys::poll;

/// Returns the path of the owner record of `name`.
fn owner_record(f: &Fixture, name: &str) -> PathBuf {
    let registration = f.path().join("user").join(&*place(&n(name)));
    registration.with_file_name(format!(".{name}.claim"))
}

#[test]
fn a_name_with_a_damaged_owner_record_is_closed_until_it_is_mended() {
    let f = Fixture::new();
    let (bob, e) = (n("bob"), &f.spool);
    for mend in ["assign", "release"] {
        e.claim(&bob, Some(7), 1).expect("claimed");
        f.store("bob", b"one");
        assert_eq!(e.check_layout().expect("checked"), []);
        std::fs::write(owner_record(&f, "bob"), "owner of bob, ".repeat(20)).expect("written");
        for claimed in [e.claim(&bob, Some(8), 2), e.claim(&bob, Some(7), 2)] {
            let damaged = matches!(claimed, Err(StoreError::Damaged { .. }));
            assert!(damaged, "{claimed:?}");
        }
        assert!(e.owner(&bob).is_err() && e.claimed(&bob).expect("readable"));
        let findings = e.check_layout().expect("checked");
        let [finding] = &findings[..] else {
            panic!("{findings:?}");
        };
        assert!(finding.place.ends_with(".bob.claim"), "{finding:?}");
        assert!(finding.what.contains("owner bob --uid N"), "{finding:?}");
        assert_eq!(e.claims().expect("readable").len(), 1, "it is listed");
        match mend {
            "assign" => assert!(e.assign(&bob, 9).expect("written")),
            _ => assert!(e.release(&bob).expect("released")),
        }
        assert_eq!(e.check_layout().expect("checked"), []);
        let owner = e.owner(&bob).expect("readable").and_then(|owner| owner.uid);
        assert_eq!(owner, (mend == "assign").then_some(9));
    }
    let set_aside = e.set_aside().expect("listed");
    assert_eq!(set_aside[0].from, FormerOwner::Unknown);
}

#[test]
fn a_mailbox_that_cannot_record_its_use_keeps_the_registration() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new();
    let (bob, e) = (n("bob"), &f.spool);
    e.register(&bob, 5, &|| true).expect("registered");
    f.store("bob", b"one");
    let mode = |mode| std::fs::set_permissions(f.mailbox("bob"), PermissionsExt::from_mode(mode));
    mode(0o400).expect("changed");
    let results = [
        e.deregister(&bob).map(drop),
        e.claim(&bob, Some(7), 1).map(drop),
    ];
    for result in results {
        assert!(matches!(result, Err(StoreError::ReadOnly(_))), "{result:?}");
    }
    assert_eq!(e.registered(&bob).expect("readable"), Some(5));
    mode(0o600).expect("changed");
    e.claim(&bob, Some(7), 1).expect("claimed");
    assert_eq!(f.fetch("bob", None), [], "it was registered");
}

#[test]
fn records_without_an_owner_stay_so_in_an_import() {
    let f = Fixture::new();
    let (bob, e) = (n("bob"), &f.spool);
    for record in [OwnerRecord::Damaged, OwnerRecord::Incomplete] {
        e.restore_claim(&bob, record).expect("written");
        assert_eq!(e.claims().expect("readable"), [(bob.clone(), record)]);
        assert!(e.claimed(&bob).expect("readable"));
    }
    e.restore_claim(&bob, OwnerRecord::Damaged)
        .expect("written");
    let claimed = e.claim(&bob, Some(7), 1);
    assert!(
        matches!(claimed, Err(StoreError::Damaged { .. })),
        "{claimed:?}"
    );
}

#[test]
fn an_interrupted_restore_that_cannot_be_settled_does_not_keep_others_from_it() {
    let f = Fixture::new();
    for name in ["bob", "carol"] {
        f.store(name, b"one");
        let dir = f.path().join("released");
        std::fs::create_dir_all(&dir).expect("made");
        let copy = dir.join(format!(".{name}@5.7.restoring"));
        std::fs::copy(f.mailbox(name), copy).expect("copied");
    }
    let mut damaged = std::fs::read(f.mailbox("bob")).expect("readable");
    damaged[..1024].fill(0xff);
    std::fs::write(f.mailbox("bob"), damaged).expect("written");
    f.spool.expire_set_aside(6).expect("expired");
    let mut names = names_below(&f.path().join("released"));
    names.sort_unstable();
    assert_eq!(names, [".bob@5.7.restoring", "carol@5.7"]);
}

#[test]
fn an_interrupted_claim_is_completed_by_an_assignment() {
    let f = Fixture::new();
    f.store("bob", b"one");
    f.fetch("bob", None);
    let record = owner_record(&f, "bob");
    std::fs::create_dir_all(record.parent().expect("a folder")).expect("made");
    std::fs::write(record, "").expect("written");
    assert!(f.spool.assign(&n("bob"), 7).expect("written"));
    assert_eq!(f.fetch("bob", None), [], "others have read it");
    assert_eq!(f.spool.set_aside().expect("listed").len(), 1);
}

#[test]
fn mailboxes_that_are_set_aside_at_the_same_time_have_files_of_their_own() {
    let f = Fixture::new();
    let (bob, e) = (n("bob"), &f.spool);
    let released = f.path().join("released");
    for uid in 1..=3 {
        e.claim(&bob, Some(uid), 1).expect("claimed");
        f.store("bob", b"one");
        e.release(&bob).expect("released");
        if uid == 1 {
            // As if the clock were set back.
            let late = released.join(format!("bob@{}.1", unix_millis() + 1_000_000));
            let [first] = &names_below(&released)[..] else {
                panic!("more than one file");
            };
            std::fs::rename(released.join(first), late).expect("renamed");
        }
    }
    let from: Vec<_> = e
        .set_aside()
        .expect("listed")
        .into_iter()
        .map(|set_aside| set_aside.from)
        .collect();
    assert_eq!(from, [1, 2, 3].map(FormerOwner::Login), "in this order");
    // A mailbox without messages is not set aside.
    e.claim(&bob, Some(4), 1).expect("claimed");
    e.release(&bob).expect("released");
    assert_eq!(e.set_aside().expect("listed").len(), 3);
}

#[test]
fn incomplete_copies_are_removed() {
    let f = Fixture::new();
    let (bob, e) = (n("bob"), &f.spool);
    e.claim(&bob, Some(7), 1).expect("claimed");
    f.store("bob", b"one");
    e.release(&bob).expect("released");
    let copy = f.path().join("released/.bob.new");
    std::fs::write(&copy, "half").expect("written");
    e.expire_set_aside(unix_millis()).expect("expired");
    assert!(!copy.exists());
    std::fs::write(&copy, "half").expect("written");
    e.tidy().expect("tidied");
    assert!(!copy.exists());
    assert_eq!(e.set_aside().expect("listed").len(), 1);
}

#[test]
fn a_file_of_an_earlier_version_goes_to_the_present_owner_only_on_request() {
    let f = Fixture::new();
    let (bob, e) = (n("bob"), &f.spool);
    e.claim(&bob, Some(7), 1).expect("claimed");
    f.store("bob", b"one");
    e.release(&bob).expect("released");
    let released = f.path().join("released");
    let name = &names_below(&released)[0];
    let earlier = name.strip_suffix(".7").expect("the uid");
    std::fs::rename(released.join(name), released.join(earlier)).expect("renamed");
    e.claim(&bob, Some(7), 1).expect("claimed");
    let restored = |to| e.restore_set_aside(&bob, to).expect("restored").messages;
    assert_eq!(restored(RestoreTo::FormerOwner), 0);
    assert_eq!(restored(RestoreTo::PresentOwner), 1);
}

#[test]
fn a_tool_beside_the_daemon_ends_the_presence_of_a_former_owner() {
    let f = Fixture::new();
    let bob = n("bob");
    let lease = Lease {
        address: Some("[::1]:8283".parse().expect("an address")),
        speaks: Speaks::Sealed,
        by: "10.0.0.1".parse().expect("an address"),
        token: LeaseToken([7; 8]),
        secret: None,
        since: 0,
        until: boot_millis() + 60_000,
    };
    let beside = || {
        let tool = f.look().beside_run_dir(&f.dir.path().join("run"));
        tool.expect("opened")
    };
    f.spool.claim(&bob, Some(7), 1).expect("claimed");
    let changes: [&dyn Fn() -> bool; 2] = [&|| beside().assign(&bob, 8).expect("written"), &|| {
        beside().release(&bob).expect("released")
    }];
    for change in changes {
        f.spool.take(&bob, &lease, &|_| true).expect("taken");
        // The same owner again changes nothing.
        let uid = f
            .spool
            .owner(&bob)
            .expect("readable")
            .and_then(|owner| owner.uid);
        beside().assign(&bob, uid.expect("known")).expect("written");
        assert_eq!(f.spool.lease(&bob).expect("readable"), Some(lease));
        let bell = f.spool.bell(&bob).expect("opened");
        assert!(change());
        assert_eq!(f.spool.lease(&bob).expect("readable"), None);
        let rung = poll::readable_by(bell.fd(), Deadline::after(Duration::ZERO));
        assert!(rung.expect("polled"));
    }
    // Without a run directory there are no clients.
    let missing = f.dir.path().join("missing");
    let tool = f.look().beside_run_dir(&missing).expect("opened");
    assert!(!tool.release(&bob).expect("nothing to do") && !missing.exists());
}

#[test]
fn a_former_owner_that_continues_to_read_does_not_use_the_name() {
    let f = Fixture::new();
    let bob = n("bob");
    f.spool.claim(&bob, Some(7), 1).expect("claimed");
    f.store("bob", b"old");
    let mut reader = f.spool.fetch(&bob).expect("leased").expect("a mailbox");
    f.look().release(&bob).expect("released");
    f.store("bob", b"new");
    reader.refresh().expect("leased again");
    assert!(!f.spool.in_open_use(&bob).expect("readable"));
    drop(reader);
    f.spool.claim(&bob, Some(8), 2).expect("claimed");
    assert_eq!(f.fetch("bob", None), [(2, b"new".to_vec())]);
}

#[test]
fn a_release_of_another_owner_changes_nothing() {
    let f = Fixture::new();
    let bob = n("bob");
    f.spool.claim(&bob, Some(7), 1).expect("claimed");
    assert!(!f.spool.release_owner(&bob, 8).expect("nothing to do"));
    assert!(f.spool.claimed(&bob).expect("readable"));
    assert!(f.spool.release_owner(&bob, 7).expect("released"));
    assert!(!f.spool.claimed(&bob).expect("readable"));
}

#[test]
fn a_reader_of_a_released_mailbox_changes_nothing_of_the_next_owner() {
    let f = Fixture::with_limits(Limits {
        history_bytes: 0,
        ..Limits::default()
    });
    let bob = n("bob");
    f.spool.claim(&bob, Some(7), 1).expect("claimed");
    for _ in 0..3 {
        f.store("bob", &[b'x'; 20_000]);
    }
    let mut reader = f.spool.fetch(&bob).expect("leased").expect("a mailbox");
    while reader.next().expect("read").is_some() {}
    let beside = f.look();
    beside.release(&bob).expect("released");
    beside.claim(&bob, Some(8), 2).expect("claimed");
    assert_eq!(store(&beside, "bob", b"new", None).expect("stored"), 4);
    // The file of this reader is no longer the mailbox. Its acknowledgement must not put a copy in place of the new one.
    reader.acknowledge(3).expect("nothing to do");
    drop(reader);
    assert_eq!(f.fetch("bob", None), [(4, b"new".to_vec())]);
    assert_eq!(f.spool.set_aside().expect("listed")[0].waiting, 3);
}
