//! Presence leases.

use super::{Subject, n};
use crate::message::{LeaseToken, Speaks, TicketSecret};
use crate::store::Lease;
use crate::sys::clock::boot_millis;

fn token(number: u8) -> LeaseToken {
    LeaseToken([number; 8])
}

fn lease(number: u8, millis: u64) -> Lease {
    Lease {
        address: Some("[::1]:8283".parse().expect("an address")),
        speaks: Speaks::Sealed,
        by: "10.0.0.1".parse().expect("an address"),
        token: token(number),
        secret: Some(TicketSecret([number; 32])),
        since: 1_795_300_000_123,
        until: boot_millis() + millis,
    }
}

pub(in crate::store) fn a_lease_is_taken_replaced_and_given_back<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let (al, bob) = (n("al"), n("bob"));
    let first = lease(1, 60_000);
    assert!(!e.take(&bob, &first, &|_| false).expect("refused"));
    assert!(e.take(&bob, &first, &|old| old.is_none()).expect("written"));
    assert_eq!(e.lease(&bob).expect("readable"), Some(first));
    let second = lease(2, 60_000);
    assert!(!e.take(&bob, &second, &|_| false).expect("readable"));
    assert!(
        e.take(&bob, &second, &|old| old
            .is_some_and(|old| old.token == token(1)))
            .expect("written")
    );
    assert!(e.take(&al, &lease(3, 0), &|_| true).expect("written"));
    assert_eq!(e.lease(&al).expect("readable"), None, "it has ended");
    assert_eq!(e.lease(&bob).expect("readable"), Some(second));
    assert!(
        !e.give_back(&bob, &|old| old.token == token(1))
            .expect("readable")
    );
    assert!(
        e.give_back(&bob, &|old| old.token == token(2))
            .expect("removed")
    );
    assert_eq!(e.lease(&bob).expect("readable"), None);
}

pub(in crate::store) fn a_claim_ends_the_lease<S: Subject>() {
    let s = S::new();
    let e = s.engine();
    let bob = n("bob");
    e.take(&bob, &lease(1, 60_000), &|_| true).expect("written");
    e.claim(&bob, Some(7), 1).expect("written");
    assert_eq!(e.lease(&bob).expect("readable"), None);
}
