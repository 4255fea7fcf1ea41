//! The promises of every storage engine. The tests of an engine run them all with `contract::hold!(Subject)`, where
//! `Subject` creates stores of that engine.

pub(in crate::store) mod mail;
pub(in crate::store) mod presence;
pub(in crate::store) mod sent_again;
pub(in crate::store) mod users;

use super::{Delivery, Engine, Limits, Receipt, StoreError};
use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;

/// A store of the tested engine, and all that it needs. Dropping it removes the store.
pub(in crate::store) trait Subject: Sized + Sync {
    /// Creates a new store with these limits.
    fn with_limits(limits: Limits) -> Self;

    /// Returns the store as this process has opened it.
    fn engine(&self) -> &(dyn Engine + Sync);

    /// Opens the same store again, as another process would.
    fn beside(&self) -> Box<dyn Engine>;

    /// Closes the store and opens it again with these limits.
    fn reopened(self, limits: Limits) -> Self;

    /// Creates a new store with the default limits.
    fn new() -> Self {
        Self::with_limits(Limits::default())
    }
}

/// Defines a test of each promise for the subject `$subject`.
macro_rules! hold {
    ($subject:ty) => {
        $crate::store::contract::hold! { @ $subject,
            mail {
                messages_wait_in_order_until_they_are_acknowledged,
                a_reopened_store_is_unchanged,
                a_second_reader_gets_busy,
                a_reader_continues_with_new_messages,
                peeking_needs_no_lease_and_acknowledges_nothing,
                expired_messages_are_not_fetched,
                concurrent_writers_and_a_reader_lose_and_duplicate_nothing,
                several_processes_append_to_one_mailbox_in_one_order,
                a_batch_is_delivered_in_its_order,
                a_full_mailbox_refuses_messages_until_it_is_read,
                history_has_acknowledged_messages_newest_first,
                a_message_can_be_traced,
                queues_are_reported_to_an_operator,
                fields_are_kept_by_every_copy,
                a_watcher_is_woken,
            }
            sent_again {
                the_same_id_from_the_same_sender_is_stored_once,
                duplicate_ids_in_a_batch_are_stored_once,
            }
            users {
                one_of_several_concurrent_registrations_is_the_first,
                names_are_registered_until_they_are_deregistered,
                claims_stay_until_they_are_released,
                a_new_owner_gets_no_messages_of_earlier_users,
                a_new_owner_gets_no_messages_that_others_have_looked_at,
                set_aside_messages_return_to_their_owner,
                messages_of_an_open_name_return_to_it_alone,
                a_restore_leaves_acknowledged_messages_set_aside,
                a_restore_does_not_disturb_a_reader,
                set_aside_messages_are_kept_for_thirty_days,
                an_owner_can_be_replaced,
                a_name_is_in_open_use_if_it_was_registered_or_read,
                canaries_are_kept_until_they_are_replaced,
            }
            presence {
                a_lease_is_taken_replaced_and_given_back,
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

/// Stores one message from "tester" with a random id. Returns its number.
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

/// Returns a draft with an id that its sender may send again.
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

/// Returns the number and body of each message that waits for `of`. Acknowledges up to number `ack`.
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
