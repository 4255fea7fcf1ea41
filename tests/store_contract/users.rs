//! Registered names, and names claimed by logins.

use super::{Subject, draft, fetch, n, store, store_until};
use crate::message::Draft;
use crate::store::{
    Delivery, Engine, FormerOwner, Limits, Owner, OwnerRecord, RestoreTo, Restored,
};
use crate::sys::clock::unix_millis;

pub(in crate::store) fn one_of_several_concurrent_registrations_is_the_first<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let first = std::thread::scope(|scope| {
        let register = |at| move || e.register(&n("bob"), at, &|| true).expect("written");
        let threads: Vec<_> = (0..8).map(|at| scope.spawn(register(at))).collect();
        let firsts = threads.into_iter().map(|t| t.join().expect("ended"));
        firsts.filter(|first| *first).count()
    });
    assert_eq!(first, 1);
}

pub(in crate::store) fn names_are_registered_until_they_are_deregistered<S: Subject>() {
    let s = S::new();
    assert!(!s.engine().deregister(&n("bob")).expect("nothing to do"));
    assert_eq!(s.engine().registered(&n("bob")).expect("readable"), None);
    assert!(
        s.engine()
            .register(&n("bob"), 5, &|| true)
            .expect("written")
    );
    assert!(s.engine().register(&n("al"), 7, &|| true).expect("written"));
    assert!(!s.engine().register(&n("al"), 8, &|| true).expect("known"));
    assert!(
        !s.engine()
            .register(&n("cy"), 8, &|| false)
            .expect("refused")
    );
    assert_eq!(s.engine().registered(&n("cy")).expect("readable"), None);
    let s = s.reopened(Limits::default());
    let e = s.engine();
    for (name, at) in [("al", 7), ("bob", 5)] {
        assert_eq!(e.registered(&n(name)).expect("readable"), Some(at));
    }
    assert_eq!(e.names().expect("readable"), [n("al"), n("bob")]);
    assert_eq!(e.registered(&n("al")).expect("readable"), Some(7));
    assert!(e.deregister(&n("al")).expect("removed"));
    assert_eq!(e.names().expect("readable"), [n("bob")]);
}

pub(in crate::store) fn claims_stay_until_they_are_released<S: Subject>() {
    let s = S::new();
    let owner = |uid, since| Owner {
        uid,
        since,
        in_files: false,
    };
    assert!(!s.engine().claimed(&n("bob")).expect("readable"));
    let first = s.engine().claim(&n("bob"), Some(7), 5).expect("written");
    assert_eq!(first, owner(Some(7), 5));
    let other = s
        .engine()
        .claim(&n("bob"), Some(8), 9)
        .expect("is one already");
    assert_eq!(
        other, first,
        "another account of that name is not the owner"
    );
    let s = s.reopened(Limits::default());
    let e = s.engine();
    assert!(e.claimed(&n("bob")).expect("readable"));
    let record = OwnerRecord::Complete(first);
    assert_eq!(e.claims().expect("readable"), [(n("bob"), record)]);
    // An import does not replace it.
    e.restore_claim(&n("bob"), OwnerRecord::Complete(owner(Some(9), 3)))
        .expect("nothing to do");
    assert_eq!(e.claims().expect("readable"), [(n("bob"), record)]);
    assert_eq!(
        e.registered(&n("bob")).expect("readable"),
        None,
        "a claim registers no name"
    );
    assert!(e.release(&n("bob")).expect("removed"));
    assert!(!e.release(&n("bob")).expect("nothing to do"));
    assert!(!e.claimed(&n("bob")).expect("readable"));
    // An owner whose user ID is not known closes the name, and gets the user ID at its first use.
    e.restore_claim(&n("bob"), OwnerRecord::Complete(owner(None, 3)))
        .expect("written");
    assert!(e.claimed(&n("bob")).expect("readable"));
    let found = e.claim(&n("bob"), Some(8), 9).expect("written");
    assert_eq!(found, owner(Some(8), 3));
}

pub(in crate::store) fn a_new_owner_gets_no_messages_of_earlier_users<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let (al, bob) = (n("al"), n("bob"));
    let send = |body: &[u8]| {
        let draft = draft(&al, body[0], body);
        let receipt = e.deliver_one(Delivery { to: &bob, draft });
        receipt.expect("stored").seq
    };
    let waiting = || {
        let Some(mut mailbox) = e.fetch(&bob).expect("leased") else {
            return Vec::new();
        };
        let mut bodies = Vec::new();
        while let Some(message) = mailbox.next().expect("read") {
            bodies.push(message.body.to_vec());
        }
        bodies
    };
    // Messages that no client has read are for the owner.
    send(b"one");
    e.claim(&bob, Some(7), 1).expect("claimed");
    assert_eq!(waiting(), [b"one"]);
    assert!(e.release(&bob).expect("released"));
    assert!(waiting().is_empty());
    assert_eq!(send(b"two"), 2, "the numbers continue");
    // A client that is not the owner has registered the name.
    assert!(e.register(&bob, 5, &|| true).expect("registered"));
    e.claim(&bob, Some(8), 2).expect("claimed");
    assert!(waiting().is_empty());
    assert_eq!(e.registered(&bob).expect("readable"), None);
    assert_eq!(e.trace(&bob, 2).expect("read"), None, "nor any history");
    assert_eq!(send(b"three"), 3);
    assert_eq!(waiting(), [b"three"]);
    e.claim(&bob, Some(8), 3).expect("the same owner");
    assert_eq!(waiting(), [b"three"]);
}

pub(in crate::store) fn a_new_owner_gets_no_messages_that_others_have_looked_at<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let waiting = |e: &dyn Engine, of: &str| fetch(e, of, None).len();
    // Peeked at, read and dropped from the history, and the same for a name that has an owner at once.
    store(e, "bob", b"one").expect("stored");
    let peeked = e.peek(&n("bob")).expect("readable").expect("a mailbox");
    drop(peeked);
    let no_history = Limits {
        history_bytes: 0,
        ..Limits::default()
    };
    let s = s.reopened(no_history);
    let e = s.engine();
    for _ in 0..3 {
        store(e, "al", b"one").expect("stored");
    }
    assert_eq!(fetch(e, "al", Some(2)).len(), 3);
    e.expire(&n("al")).expect("expired");
    e.claim(&n("cy"), Some(7), 1).expect("claimed");
    store(e, "cy", b"one").expect("stored");
    drop(e.peek(&n("cy")).expect("readable"));
    for (name, expected) in [("bob", 0), ("al", 0), ("cy", 1)] {
        e.claim(&n(name), Some(7), 1).expect("claimed");
        assert_eq!(waiting(e, name), expected, "{name}");
    }
    // The name was registered once.
    e.register(&n("ed"), 1, &|| true).expect("registered");
    store(e, "ed", b"one").expect("stored");
    e.deregister(&n("ed")).expect("removed");
    e.claim(&n("ed"), Some(7), 1).expect("claimed");
    assert_eq!(waiting(e, "ed"), 0);
    // The operator's commands are no use of the name.
    store_until(e, "di", b"old", Some(1)).expect("stored");
    store(e, "di", b"one").expect("stored");
    assert_eq!(e.expire(&n("di")).expect("expired"), 1);
    e.messages(&n("di"), &mut |_, _| true).expect("readable");
    e.claim(&n("di"), Some(7), 1).expect("claimed");
    assert_eq!(waiting(e, "di"), 1);
}

pub(in crate::store) fn set_aside_messages_return_to_their_owner<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let bob = n("bob");
    let restore = |to| e.restore_set_aside(&bob, to).expect("restored");
    let restored = |messages, others| Restored {
        messages,
        others,
        unreadable: 0,
    };
    assert_eq!(restore(RestoreTo::FormerOwner), Restored::default());
    e.claim(&bob, Some(7), 1).expect("claimed");
    for body in [b"one", b"two", b"six"] {
        store(e, "bob", body).expect("stored");
    }
    fetch(e, "bob", Some(1));
    assert!(e.release(&bob).expect("released"));
    let set_aside = e.set_aside().expect("listed");
    let [first] = &set_aside[..] else {
        panic!("{set_aside:?}");
    };
    assert_eq!(
        (&first.name, first.from, first.waiting),
        (&bob, FormerOwner::Login(7), 2)
    );
    // Nothing returns to a name without an owner, or to another one.
    assert_eq!(restore(RestoreTo::FormerOwner), restored(0, 1));
    assert_eq!(restore(RestoreTo::PresentOwner), restored(0, 1));
    e.claim(&bob, Some(8), 2).expect("claimed");
    store(e, "bob", b"ten").expect("stored");
    assert_eq!(restore(RestoreTo::FormerOwner), restored(0, 1));
    assert_eq!(fetch(e, "bob", None), [(4, b"ten".to_vec())]);
    assert!(e.release(&bob).expect("released"));
    // The owner that had them gets them with new numbers, once. Acknowledged messages do not return.
    e.claim(&bob, Some(7), 3).expect("claimed");
    store(e, "bob", b"abc").expect("stored");
    assert_eq!(restore(RestoreTo::FormerOwner), restored(2, 1));
    let expected = [
        (5, b"abc".to_vec()),
        (6, b"two".to_vec()),
        (7, b"six".to_vec()),
    ];
    assert_eq!(fetch(e, "bob", None), expected);
    assert_eq!(restore(RestoreTo::FormerOwner), restored(0, 1));
    assert_eq!(restore(RestoreTo::PresentOwner), restored(1, 0));
    assert_eq!(e.set_aside().expect("listed"), []);
    let s = s.reopened(Limits::default());
    let e = s.engine();
    let all = fetch(e, "bob", Some(8));
    assert_eq!(all[..3], expected);
    assert_eq!(all[3..], [(8, b"ten".to_vec())]);
    assert_eq!(store(e, "bob", b"end").expect("stored"), 9);
}

pub(in crate::store) fn a_restore_leaves_acknowledged_messages_set_aside<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let bob = n("bob");
    e.claim(&bob, Some(7), 1).expect("claimed");
    for (id, body) in [(1, b"one"), (2, b"two")] {
        let at = unix_millis();
        let draft = Draft {
            at,
            ..draft(&bob, id, body)
        };
        e.deliver_one(Delivery { to: &bob, draft }).expect("stored");
    }
    fetch(e, "bob", Some(1));
    e.release(&bob).expect("released");
    e.claim(&bob, Some(7), 1).expect("claimed");
    let set_aside = || {
        let all = e.set_aside().expect("listed").into_iter();
        all.map(|one| (one.at, one.waiting, one.read))
            .collect::<Vec<_>>()
    };
    let before = set_aside();
    let at = before[0].0;
    assert_eq!(before, [(at, 1, 1)]);
    // A second restore finds no waiting messages.
    for messages in [1, 0] {
        let restored = e.restore_set_aside(&bob, RestoreTo::FormerOwner);
        assert_eq!(restored.expect("restored").messages, messages);
        assert_eq!(set_aside(), [(at, 0, 1)]);
    }
    assert_eq!(fetch(e, "bob", None), [(3, b"two".to_vec())]);
}

pub(in crate::store) fn messages_of_an_open_name_return_to_it_alone<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let bob = n("bob");
    store(e, "bob", b"one").expect("stored");
    fetch(e, "bob", None);
    e.claim(&bob, Some(7), 1).expect("claimed");
    let set_aside = e.set_aside().expect("listed");
    assert_eq!(set_aside[0].from, FormerOwner::None);
    let restore = |to| e.restore_set_aside(&bob, to).expect("restored").messages;
    assert_eq!(restore(RestoreTo::FormerOwner), 0);
    assert!(e.release(&bob).expect("released"));
    assert_eq!(restore(RestoreTo::FormerOwner), 1);
    // They are still not for a later owner.
    assert!(e.in_open_use(&bob).expect("readable"));
    assert_eq!(fetch(e, "bob", None), [(2, b"one".to_vec())]);
}

pub(in crate::store) fn a_restore_does_not_disturb_a_reader<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let bob = n("bob");
    e.claim(&bob, Some(7), 1).expect("claimed");
    store(e, "bob", b"old").expect("stored");
    e.release(&bob).expect("released");
    e.claim(&bob, Some(7), 2).expect("claimed");
    store(e, "bob", b"new").expect("stored");
    let mut reader = e.fetch(&bob).expect("leased").expect("a mailbox");
    assert_eq!(reader.next().expect("read").expect("one").seq, 2);
    let beside = s.beside();
    let restored = beside.restore_set_aside(&bob, RestoreTo::FormerOwner);
    assert_eq!(restored.expect("restored").messages, 1);
    // The reader acknowledges in the mailbox that replaced its own, and continues there.
    reader.acknowledge(2).expect("acknowledged");
    reader.refresh().expect("refreshed");
    let message = reader.next().expect("read").expect("one");
    assert_eq!((message.seq, message.body), (3, &b"old"[..]));
    drop(reader);
    assert_eq!(fetch(e, "bob", None), [(3, b"old".to_vec())]);
}

pub(in crate::store) fn set_aside_messages_are_kept_for_thirty_days<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    e.claim(&n("bob"), Some(7), 1).expect("claimed");
    store(e, "bob", b"one").expect("stored");
    e.release(&n("bob")).expect("released");
    let at = e.set_aside().expect("listed")[0].at;
    let month = 30 * 86_400_000;
    e.expire_set_aside(at + month - 1).expect("expired");
    assert_eq!(e.set_aside().expect("listed").len(), 1);
    e.expire_set_aside(at + month).expect("expired");
    assert_eq!(e.set_aside().expect("listed"), []);
}

pub(in crate::store) fn an_owner_can_be_replaced<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let bob = n("bob");
    assert!(!e.assign(&bob, 8).expect("nothing to do"));
    assert!(!e.claimed(&bob).expect("readable"));
    e.claim(&bob, Some(7), 5).expect("claimed");
    store(e, "bob", b"one").expect("stored");
    assert!(e.assign(&bob, 8).expect("written"));
    let owner = e.owner(&bob).expect("readable").expect("an owner");
    assert_eq!((owner.uid, owner.since), (Some(8), 5));
    assert_eq!(fetch(e, "bob", None).len(), 1, "the messages stay");
    assert_eq!(e.set_aside().expect("listed"), []);
}

pub(in crate::store) fn a_name_is_in_open_use_if_it_was_registered_or_read<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let in_use = |name: &str| e.in_open_use(&n(name)).expect("readable");
    assert!(!in_use("bob"));
    e.register(&n("al"), 5, &|| true).expect("written");
    assert!(in_use("al"));
    // A message to a name is no use of it.
    let (bob, from) = (n("bob"), n("al"));
    let draft = Draft {
        at: unix_millis(),
        ..draft(&from, 7, b"one")
    };
    e.deliver_one(Delivery { to: &bob, draft }).expect("stored");
    assert!(!in_use("bob"));
    fetch(e, "bob", Some(1));
    assert!(in_use("bob"));
    // Its owner has not used it as a TCP client.
    e.claim(&n("bob"), Some(7), 5).expect("claimed");
    assert!(!in_use("bob"));
}

pub(in crate::store) fn canaries_are_kept_until_they_are_replaced<S: Subject>() {
    let s = S::new();
    assert_eq!(s.engine().canaries().expect("readable"), []);
    let long = "x".repeat(crate::name::MAX_NAME);
    let names = [n("al"), n(&long), n("carol"), n("dave")];
    s.engine().keep_canaries(&names).expect("written");
    let s = s.reopened(Limits::default());
    assert_eq!(s.engine().canaries().expect("readable"), names);
    s.engine().keep_canaries(&names[1..2]).expect("written");
    assert_eq!(s.engine().canaries().expect("readable"), names[1..2]);
    s.engine().keep_canaries(&[]).expect("written");
    assert_eq!(s.engine().canaries().expect("readable"), []);
}
