//! Duplicate detection: an id from one sender with one trust is stored once per mailbox.

use super::{Subject, draft, fetch, n, store, store_once};
use crate::message::{Draft, Trust};
use crate::store::{Delivery, Limits, Receipt};

pub(in crate::store) fn the_same_id_from_the_same_sender_is_stored_once<S: Subject>() {
    let new = |seq| Receipt {
        seq,
        duplicate: false,
    };
    let known = |seq| Receipt {
        seq,
        duplicate: true,
    };
    let s = S::new();
    let e = s.engine();
    assert_eq!(store_once(e, "bob", "al", 1, b"one"), new(1));
    assert_eq!(store_once(e, "bob", "al", 1, b"one"), known(1));
    assert_eq!(
        store_once(e, "bob", "eve", 1, b"hers"),
        new(2),
        "another sender"
    );
    assert_eq!(
        store_once(e, "carol", "al", 1, b"one"),
        new(1),
        "another mailbox"
    );
    let (al, bob) = (n("al"), n("bob"));
    let verified = Draft {
        trust: Trust::Local,
        ..draft(&al, 1, b"verified")
    };
    let stored = || {
        let draft = verified;
        e.deliver_one(Delivery { to: &bob, draft }).expect("stored")
    };
    assert_eq!(stored(), new(3), "another sender, by the same name");
    assert_eq!(stored(), known(3));
    fetch(e, "bob", Some(3));
    assert_eq!(
        store_once(e, "bob", "al", 1, b"one"),
        known(1),
        "after it was read"
    );
    // At least the last 4,096 messages are remembered.
    for n in 0..4_000_u32 {
        store(e, "bob", &n.to_le_bytes()).expect("stored");
    }
    let s = s.reopened(Limits::default());
    let e = s.engine();
    assert_eq!(
        store_once(e, "bob", "al", 1, b"one"),
        known(1),
        "after a restart"
    );
    assert_eq!(store_once(e, "bob", "al", 2, b"two"), new(4_004));
}

pub(in crate::store) fn duplicate_ids_in_a_batch_are_stored_once<S: Subject>() {
    let s = S::new();
    let (al, bob, carol) = (n("al"), n("bob"), n("carol"));
    let deliveries = [(&bob, 1, "b1"), (&carol, 2, "c1"), (&bob, 1, "b1")];
    let batch = deliveries.map(|(to, id, body)| Delivery {
        to,
        draft: draft(&al, id, body.as_bytes()),
    });
    let receipts = s.engine().deliver(&batch).into_iter();
    let receipts = receipts.map(|outcome| outcome.expect("stored"));
    let expected = [(1, false), (1, false), (1, true)];
    assert!(receipts.map(|r| (r.seq, r.duplicate)).eq(expected));
    assert_eq!(fetch(s.engine(), "bob", None), [(1, b"b1".to_vec())]);
}
