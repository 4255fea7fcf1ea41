//! Mailboxes damaged by a crash or a disk error.

use super::*;

#[test]
fn a_torn_tail_of_any_length_is_repaired_before_the_next_append() {
    let f = Fixture::new();
    f.store("bob", b"one");
    let before = len(&f.mailbox("bob"));
    f.store("bob", b"two");
    let whole = records(&f.mailbox("bob"));
    for cut in before..whole.len() {
        let mut torn = whole[..cut].to_vec();
        if cut % 3 == 0 {
            // Some file systems keep the new length but lose the bytes.
            torn.resize(if cut % 2 == 0 { 4_096 } else { whole.len() }, 0);
        }
        std::fs::write(f.mailbox("bob"), &torn).expect("written");
        assert_eq!(f.fetch("bob", None), [(1, b"one".to_vec())], "cut at {cut}");
        // As after a crash: the process has no cached position.
        let after = f.look();
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
fn a_mailbox_whose_first_write_was_cut_off_is_started_again() {
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
fn duplicates_are_found_behind_damage_and_long_messages() {
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
fn a_read_only_mailbox_refuses_messages_and_can_be_read() {
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
fn a_torn_message_does_not_count_as_waiting() {
    let f = Fixture::new();
    f.store("bob", b"one");
    f.store("bob", b"two");
    f.store("alice", b"one");
    f.fetch("bob", Some(1));
    f.fetch("alice", Some(1));
    let spool = f.look();
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
