//! Mailboxes: order, acknowledgement, leases, limits.

use std::time::Duration;

use super::{Subject, draft, fetch, n, store, store_until};
use crate::message::{Draft, Fields};
use crate::store::{Delivery, Limits, MailboxState, State, StoreError};
use crate::sys::clock::Deadline;
use crate::sys::poll;

pub(in crate::store) fn messages_wait_in_order_until_they_are_acknowledged<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    assert!(
        e.fetch(&n("bob")).expect("fetched").is_none(),
        "no mailbox yet"
    );
    for (seq, body) in [(1, "one"), (2, "two"), (3, "three")] {
        assert_eq!(store(e, "bob", body.as_bytes()).expect("stored"), seq);
    }
    let all = [
        (1, b"one".to_vec()),
        (2, b"two".to_vec()),
        (3, b"three".to_vec()),
    ];
    assert_eq!(fetch(e, "bob", None), all);
    assert_eq!(fetch(e, "bob", Some(2)), all, "the same again");
    assert_eq!(
        fetch(e, "bob", Some(1)),
        all[2..],
        "an old number reverts nothing"
    );
    assert_eq!(store(e, "bob", b"four").expect("stored"), 4);
    assert_eq!(
        fetch(e, "bob", Some(4)),
        [(3, b"three".to_vec()), (4, b"four".to_vec())]
    );
    assert_eq!(fetch(e, "bob", None), []);
    assert_eq!(
        store(e, "bob", b"five").expect("stored"),
        5,
        "no number is used twice"
    );
}

pub(in crate::store) fn a_reopened_store_is_unchanged<S: Subject>() {
    let s = S::new();
    store(s.engine(), "bob", &vec![b'x'; 1 << 20]).expect("stored");
    store(s.engine(), "bob", b"two").expect("stored");
    fetch(s.engine(), "bob", Some(1));
    let s = s.reopened(Limits::default());
    assert_eq!(fetch(s.engine(), "bob", None), [(2, b"two".to_vec())]);
    assert_eq!(store(s.engine(), "bob", b"three").expect("stored"), 3);
}

pub(in crate::store) fn a_second_reader_gets_busy<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    store(e, "bob", b"one").expect("stored");
    let lease = e.fetch(&n("bob")).expect("fetched");
    assert!(matches!(e.fetch(&n("bob")), Err(StoreError::Busy)));
    assert_eq!(
        store(e, "bob", b"two").expect("stored"),
        2,
        "a writer does not wait for a reader"
    );
    drop(lease);
    assert_eq!(fetch(e, "bob", None).len(), 2);
}

pub(in crate::store) fn a_reader_continues_with_new_messages<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    store(e, "bob", b"one").expect("stored");
    let mut lease = e.fetch(&n("bob")).expect("fetched").expect("a mailbox");
    assert_eq!(lease.waiting().expect("counted"), 1);
    assert!(lease.next().expect("readable").is_some());
    assert!(lease.next().expect("readable").is_none());
    store(&*s.beside(), "bob", b"two").expect("stored");
    lease.refresh().expect("readable");
    let next = lease.next().expect("readable").expect("a message");
    assert_eq!((next.seq, next.body), (2, &b"two"[..]));
    lease.acknowledge(2).expect("acknowledged");
    drop(lease);
    assert_eq!(fetch(e, "bob", None), []);
}

pub(in crate::store) fn peeking_needs_no_lease_and_acknowledges_nothing<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    assert!(e.peek(&n("bob")).expect("readable").is_none());
    store(e, "bob", b"one").expect("stored");
    let lease = e.fetch(&n("bob")).expect("fetched").expect("a mailbox");
    let mut peek = e.peek(&n("bob")).expect("readable").expect("a mailbox");
    assert_eq!(peek.next().expect("readable").expect("a message").seq, 1);
    drop((peek, lease));
    assert_eq!(fetch(e, "bob", None).len(), 1);
}

pub(in crate::store) fn expired_messages_are_not_fetched<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    store_until(e, "bob", b"stale", Some(1)).expect("stored");
    store_until(e, "bob", b"fresh", Some(u64::MAX)).expect("stored");
    assert_eq!(fetch(e, "bob", None), [(2, b"fresh".to_vec())]);
    assert_eq!(e.expire(&n("bob")).expect("expired"), 1);
    assert_eq!(
        e.queue(&n("bob"))
            .expect("readable")
            .expect("there")
            .waiting,
        1
    );
}

pub(in crate::store) fn concurrent_writers_and_a_reader_lose_and_duplicate_nothing<S: Subject>() {
    const WRITERS: usize = 8;
    const EACH: usize = 100;
    let s = S::new();
    let e = s.engine();
    store(e, "bob", b"0 0").expect("stored");
    let mut got = Vec::new();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    for i in 0..EACH {
                        store(e, "bob", format!("{writer} {i}").as_bytes()).expect("stored");
                    }
                })
            })
            .collect();
        loop {
            let finished = writers.iter().all(|writer| writer.is_finished());
            let batch = fetch(e, "bob", Some(u64::MAX));
            if batch.is_empty() && finished {
                break;
            }
            got.extend(batch);
        }
    });
    let numbers = got.iter().map(|(seq, _)| *seq);
    assert!(numbers.eq(1..=u64::try_from(WRITERS * EACH + 1).expect("small")));
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

pub(in crate::store) fn several_processes_append_to_one_mailbox_in_one_order<S: Subject>() {
    let s = S::new();
    let others: Vec<_> = (0..3).map(|_| s.beside()).collect();
    let mut expected = 0;
    for _ in 0..10 {
        for other in &others {
            expected += 1;
            assert_eq!(store(&**other, "bob", b"x").expect("stored"), expected);
        }
    }
    let numbers = fetch(s.engine(), "bob", None)
        .into_iter()
        .map(|(seq, _)| seq);
    assert!(numbers.eq(1..=expected));
}

pub(in crate::store) fn a_batch_is_delivered_in_its_order<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let (al, bob, carol) = (n("al"), n("bob"), n("carol"));
    let deliveries = [(&bob, 1, "b1"), (&carol, 2, "c1"), (&bob, 3, "b2")];
    let batch = deliveries.map(|(to, id, body)| Delivery {
        to,
        draft: draft(&al, id, body.as_bytes()),
    });
    let receipts = e.deliver(&batch).into_iter();
    let receipts = receipts.map(|outcome| outcome.expect("stored").seq);
    assert!(receipts.eq([1, 1, 2]));
    assert_eq!(
        fetch(e, "bob", None),
        [(1, b"b1".to_vec()), (2, b"b2".to_vec())]
    );
    assert_eq!(fetch(e, "carol", None), [(1, b"c1".to_vec())]);
    assert!(e.deliver(&[]).is_empty());
}

pub(in crate::store) fn a_full_mailbox_refuses_messages_until_it_is_read<S: Subject>() {
    let s = S::with_limits(Limits {
        quota_messages: 2,
        ..Limits::default()
    });
    let e = s.engine();
    store(e, "bob", b"one").expect("stored");
    store(e, "bob", b"two").expect("stored");
    let full = |outcome| matches!(outcome, Err(StoreError::Quota(..)));
    assert!(full(store(e, "bob", b"three")));
    store(e, "carol", b"one").expect("another mailbox");
    fetch(e, "bob", Some(1));
    assert_eq!(store(e, "bob", b"three").expect("stored"), 3);
    let s = s.reopened(Limits {
        quota_bytes: 10_000,
        ..Limits::default()
    });
    let e = s.engine();
    fetch(e, "bob", Some(u64::MAX));
    assert!(full(store(e, "bob", &[b'x'; 10_000])));
    store(e, "bob", &[b'x'; 9_000]).expect("stored");
    assert!(full(store(e, "bob", &[b'x'; 1_000])));
}

pub(in crate::store) fn history_has_acknowledged_messages_newest_first<S: Subject>() {
    // The test messages are dated 1970.
    let s = S::with_limits(Limits {
        history_millis: u64::MAX,
        ..Limits::default()
    });
    let e = s.engine();
    for body in ["one", "two", "three", "four"] {
        store(e, "bob", body.as_bytes()).expect("stored");
    }
    fetch(e, "bob", Some(3));
    let history = |before, most| {
        let mut seen = Vec::new();
        let mut each = |message: &crate::message::Stored<'_>| {
            seen.push(message.seq);
            seen.len() < most
        };
        e.history(&n("bob"), before, &mut each).expect("readable");
        seen
    };
    assert_eq!(history(None, 9), [3, 2, 1]);
    assert_eq!(history(Some(3), 9), [2, 1]);
    assert_eq!(history(None, 2), [3, 2]);
    e.history(&n("carol"), None, &mut |_| panic!("no mailbox"))
        .expect("nothing");
}

pub(in crate::store) fn a_message_can_be_traced<S: Subject>() {
    let s = S::with_limits(Limits {
        history_millis: u64::MAX,
        ..Limits::default()
    });
    let e = s.engine();
    store(e, "bob", b"one").expect("stored");
    store_until(e, "bob", b"two", Some(u64::MAX)).expect("stored");
    fetch(e, "bob", Some(1));
    let trace = |seq| e.trace(&n("bob"), seq).expect("readable");
    let (one, two) = (trace(1).expect("known"), trace(2).expect("known"));
    assert_eq!(
        (one.from.as_str(), one.state, one.expires),
        ("tester", State::Read, None)
    );
    assert_eq!((two.state, two.expires), (State::Waiting, Some(u64::MAX)));
    assert_eq!(trace(3), None);
    assert_eq!(e.trace(&n("carol"), 1).expect("readable"), None);
}

pub(in crate::store) fn queues_are_reported_to_an_operator<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    store(e, "bob", b"one").expect("stored");
    store(e, "bob", b"two").expect("stored");
    store(e, "alice", b"one").expect("stored");
    fetch(e, "bob", Some(1));
    fetch(e, "alice", Some(1));
    let beside = s.beside();
    assert_eq!(beside.mailboxes().expect("listed"), [n("alice"), n("bob")]);
    let queue = |name| beside.queue(&n(name)).expect("readable");
    let bob = queue("bob").expect("a mailbox");
    assert_eq!((bob.waiting, bob.oldest), (1, Some(1)));
    assert!(bob.bytes > 0);
    let alice = queue("alice").expect("a mailbox");
    assert_eq!((alice.waiting, alice.bytes, alice.oldest), (0, 0, None));
    assert_eq!(queue("carol"), None);
    assert_eq!(beside.check(&n("bob")).expect("checked"), []);
    assert_eq!(beside.check_layout().expect("checked"), []);
}

pub(in crate::store) fn fields_are_kept_by_every_copy<S: Subject>() {
    // A type that no version defines yet.
    const FIELDS: [u8; 7] = [0xff, 0x7f, 3, 0, b'a', b'b', b'c'];
    let s = S::new();
    let (al, bob, copy) = (n("al"), n("bob"), n("copy"));
    let draft = Draft {
        fields: Fields::new(&FIELDS).expect("whole"),
        ..draft(&al, 1, b"hi")
    };
    let e = s.engine();
    e.deliver_one(Delivery { to: &bob, draft }).expect("stored");
    store(e, "bob", b"without").expect("stored");
    let s = s.reopened(Limits::default());
    let e = s.engine();
    e.repair(&bob).expect("repaired");
    let state = MailboxState {
        acked: 0,
        used: true,
    };
    let mut restored = e.restore(&copy, state).expect("begun");
    let mut push = |message: &crate::message::Stored<'_>, _: State| {
        restored.push(message).expect("restored");
        true
    };
    e.messages(&bob, &mut push).expect("readable");
    restored.finish().expect("restored");
    assert!(e.in_open_use(&copy).expect("readable"));
    let of_copy = e.messages(&copy, &mut |_, _| true);
    assert_eq!(of_copy.expect("readable"), Some(state));
    for name in [&bob, &copy] {
        let mut lease = e.fetch(name).expect("fetched").expect("a mailbox");
        let first = lease.next().expect("readable").expect("a message");
        assert_eq!(
            (first.body, first.fields.as_bytes()),
            (&b"hi"[..], &FIELDS[..])
        );
        let second = lease.next().expect("readable").expect("a message");
        assert_eq!(
            (second.body, second.fields),
            (&b"without"[..], Fields::default())
        );
    }
}

pub(in crate::store) fn a_watcher_is_woken<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let bell = e.bell(&n("bob")).expect("a bell");
    assert!(matches!(e.bell(&n("bob")), Err(StoreError::Busy)));
    let is_woken = || {
        let now = Deadline::after(Duration::ZERO);
        poll::readable_by(bell.fd(), now).expect("polled")
    };
    assert!(!is_woken());
    store(e, "bob", b"one").expect("stored");
    assert!(is_woken());
    bell.silence();
    assert!(!is_woken());
    store(e, "carol", b"one").expect("stored");
    assert!(!is_woken(), "another mailbox");
}
