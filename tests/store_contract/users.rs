//! Registered names, and names claimed by logins.

use super::{Subject, draft, fetch, n};
use crate::message::Draft;
use crate::store::{Delivery, Limits, Owner, User};
use crate::sys::clock::unix_millis;

pub(in crate::store) fn one_of_several_concurrent_registrations_is_the_first<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let first = std::thread::scope(|scope| {
        let register = |at| move || e.register(&n("bob"), at).expect("written");
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
    assert!(s.engine().register(&n("bob"), 5).expect("written"));
    assert!(s.engine().register(&n("al"), 7).expect("written"));
    assert!(!s.engine().register(&n("al"), 8).expect("known"));
    let s = s.reopened(Limits::default());
    let e = s.engine();
    let user = |name, registered| User {
        name: n(name),
        registered,
    };
    let users = [user("al", 7), user("bob", 5)];
    assert_eq!(e.users().expect("readable"), users);
    assert_eq!(e.names().expect("readable"), [n("al"), n("bob")]);
    assert_eq!(e.registered(&n("al")).expect("readable"), Some(7));
    assert!(e.deregister(&n("al")).expect("removed"));
    assert_eq!(e.names().expect("readable"), [n("bob")]);
}

pub(in crate::store) fn claims_stay_until_they_are_released<S: Subject>() {
    let s = S::new();
    let owner = |uid, since| Owner { uid, since };
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
    assert_eq!(e.claims().expect("readable"), [(n("bob"), first)]);
    assert_eq!(
        e.registered(&n("bob")).expect("readable"),
        None,
        "a claim registers no name"
    );
    assert!(e.release(&n("bob")).expect("removed"));
    assert!(!e.release(&n("bob")).expect("nothing to do"));
    assert!(!e.claimed(&n("bob")).expect("readable"));
    // An owner whose user ID is not known closes the name, and gets the user ID at its first use.
    e.restore_claim(&n("bob"), owner(None, 3)).expect("written");
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
    assert!(e.register(&bob, 5).expect("registered"));
    e.claim(&bob, Some(8), 2).expect("claimed");
    assert!(waiting().is_empty());
    assert_eq!(e.registered(&bob).expect("readable"), None);
    assert_eq!(e.trace(&bob, 2).expect("read"), None, "nor any history");
    assert_eq!(send(b"three"), 3);
    assert_eq!(waiting(), [b"three"]);
    e.claim(&bob, Some(8), 3).expect("the same owner");
    assert_eq!(waiting(), [b"three"]);
}

pub(in crate::store) fn a_name_is_in_open_use_if_it_was_registered_or_read<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let in_use = |name: &str| e.in_open_use(&n(name)).expect("readable");
    assert!(!in_use("bob"));
    e.register(&n("al"), 5).expect("written");
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
