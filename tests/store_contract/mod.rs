//! What every engine of the store promises, whatever it keeps messages in. An engine is held to all of it by
//! `contract::hold!(Subject)` in its own tests, where `Subject` makes stores of it.

pub(in crate::store) mod mail;
pub(in crate::store) mod presence;
pub(in crate::store) mod sent_again;
pub(in crate::store) mod users;

use super::{Delivery, Engine, Limits, Receipt, StoreError};
use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;

/// A store of the engine that is tested, and all that it needs. It is removed when this is dropped.
pub(in crate::store) trait Subject: Sized + Sync {
    /// A new store with these limits.
    fn with_limits(limits: Limits) -> Self;

    /// The store, as this process has opened it.
    fn engine(&self) -> &(dyn Engine + Sync);

    /// The same store in another process, beside this one.
    fn beside(&self) -> Box<dyn Engine>;

    /// The same store, closed and opened again with these limits.
    fn reopened(self, limits: Limits) -> Self;

    /// A new store with the default limits.
    fn new() -> Self {
        Self::with_limits(Limits::default())
    }
}

/// Makes a test of each promise, for the subject `$subject`.
macro_rules! hold {
    ($subject:ty) => {
        $crate::store::contract::hold! { @ $subject,
            mail {
                messages_wait_in_order_until_they_are_acknowledged,
                a_store_is_found_again_as_it_was,
                a_second_reader_is_told_that_the_mailbox_is_busy,
                a_reader_goes_on_with_what_has_come_since,
                peeking_needs_no_lease_and_acknowledges_nothing,
                expired_messages_are_not_handed_out,
                many_writers_and_a_reader_lose_and_double_nothing,
                several_processes_append_to_one_mailbox_in_one_order,
                a_batch_is_delivered_in_its_order,
                a_full_mailbox_refuses_and_takes_again_when_it_was_read,
                history_shows_what_was_read_newest_first,
                a_message_can_be_traced,
                an_operator_sees_what_waits,
                fields_are_kept_by_every_copy,
                a_watcher_is_woken,
            }
            sent_again {
                the_same_id_from_the_same_sender_is_stored_once,
                doubled_ids_in_a_batch_are_stored_once,
            }
            users {
                of_many_who_register_a_name_one_is_the_first,
                names_are_registered_until_they_are_forgotten,
                claims_stay_until_they_are_released,
            }
            presence {
                a_lease_is_taken_kept_and_given_back,
                a_claim_ends_the_lease,
            }
        }
    };
    (@ $subject:ty, $($module:ident { $($test:ident),* $(,)? })*) => {
        $($(
            #[test]
            fn $test() {
                $crate::store::contract::$module::$test::<$subject>();
            }
        )*)*
    };
}
pub(in crate::store) use hold;

pub(in crate::store) fn n(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

/// Stores one message from "tester" with an id of its own; its number.
pub(in crate::store) fn store(
    engine: &dyn Engine,
    to: &str,
    body: &[u8],
) -> Result<u64, StoreError> {
    store_until(engine, to, body, None)
}

pub(in crate::store) fn store_until(
    engine: &dyn Engine,
    to: &str,
    body: &[u8],
    expires: Option<u64>,
) -> Result<u64, StoreError> {
    let (to, from) = (n(to), n("tester"));
    let draft = Draft {
        id: MessageId::random().expect("an id"),
        expires,
        once: false,
        ..draft(&from, 0, body)
    };
    let receipt = engine.deliver_one(Delivery { to: &to, draft })?;
    Ok(receipt.seq)
}

/// A draft with an id that its sender may send again.
pub(in crate::store) fn draft<'a>(from: &'a Name, id: u8, body: &'a [u8]) -> Draft<'a> {
    Draft {
        id: MessageId([id; 16]),
        from,
        trust: Trust::Open,
        at: 1,
        expires: None,
        once: true,
        body,
        fields: Fields::default(),
    }
}

pub(in crate::store) fn store_once(
    engine: &dyn Engine,
    to: &str,
    from: &str,
    id: u8,
    body: &[u8],
) -> Receipt {
    let (to, from) = (n(to), n(from));
    let draft = draft(&from, id, body);
    let receipt = engine.deliver_one(Delivery { to: &to, draft });
    receipt.expect("stored")
}

/// Number and body of each message that waits for `of`. Acknowledges up to number `ack`.
pub(in crate::store) fn fetch(
    engine: &dyn Engine,
    of: &str,
    ack: Option<u64>,
) -> Vec<(u64, Vec<u8>)> {
    let mut lease = engine.fetch(&n(of)).expect("fetched").expect("a mailbox");
    let mut all = Vec::new();
    while let Some(message) = lease.next().expect("readable") {
        all.push((message.seq, message.body.to_vec()));
    }
    if let Some(seq) = ack {
        lease.acknowledge(seq).expect("acknowledged");
    }
    all
}
