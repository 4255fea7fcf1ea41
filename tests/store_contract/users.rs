//! Registered names, and names claimed by logins.

use super::{Subject, n};
use crate::store::{Limits, User};

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
    assert!(!s.engine().claimed(&n("bob")).expect("readable"));
    s.engine().claim(&n("bob"), 5).expect("written");
    s.engine().claim(&n("bob"), 9).expect("is one already");
    let s = s.reopened(Limits::default());
    let e = s.engine();
    assert!(e.claimed(&n("bob")).expect("readable"));
    assert_eq!(e.claims().expect("readable"), [(n("bob"), 5)]);
    assert_eq!(
        e.registered(&n("bob")).expect("readable"),
        None,
        "a claim registers no name"
    );
    assert!(e.release(&n("bob")).expect("removed"));
    assert!(!e.release(&n("bob")).expect("nothing to do"));
    assert!(!e.claimed(&n("bob")).expect("readable"));
}
