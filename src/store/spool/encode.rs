//! Encodes the messages to one mailbox as records for a single write.

use super::dedup::Search;
use super::format::end::Tail;
use super::format::record;
use super::handle::Spool;
use super::mailbox::AppendPosition;
use super::room::{self, Addition};
use crate::message::Draft;
use crate::name::Name;
use crate::store::{Delivery, Receipt, StoreError};

/// Gathers the records of messages to one mailbox. The mailbox lock must be held.
pub(super) struct Encoder<'a, 'm> {
    spool: &'a Spool,
    /// The search for earlier messages, which has covered the mailbox up to `position`.
    search: &'a Search<'m>,
    position: &'a AppendPosition,
    /// The end of the mailbox after all records gathered so far.
    tail: Tail,
    bytes: Vec<u8>,
    encoded: Vec<(&'m Draft<'m>, u64)>,
}

impl<'a, 'm> Encoder<'a, 'm> {
    /// Creates an encoder that appends to a mailbox at `position`.
    pub(super) fn new(
        spool: &'a Spool,
        search: &'a Search<'m>,
        position: &'a AppendPosition,
    ) -> Self {
        Self {
            spool,
            search,
            position,
            tail: position.tail,
            bytes: position.first_bytes(),
            encoded: Vec::new(),
        }
    }

    /// Returns whether the quota has room for all `drafts` after `position`.
    pub(super) fn has_room<'d>(
        spool: &Spool,
        to: &Name,
        position: &AppendPosition,
        drafts: impl Iterator<Item = &'d Draft<'d>>,
    ) -> bool {
        let none = Addition { count: 0, bytes: 0 };
        let all = drafts.fold(none, |all, draft| Addition {
            count: all.count + 1,
            bytes: all.bytes + record::len_of(draft) as u64,
        });
        let (limits, budgets) = (&spool.limits, &spool.budgets);
        room::in_mailbox(limits, budgets, to, &position.header, position.tail, all).is_ok()
    }

    /// Adds the record of a message unless it is a duplicate. The receipt holds once all records are durable.
    ///
    /// # Errors
    /// [`StoreError::Quota`].
    pub(super) fn push(&mut self, message: &'m Delivery<'m>) -> Result<Receipt, StoreError> {
        let draft = &message.draft;
        if draft.once
            && let Some(seq) = self.earlier(draft)
        {
            return Ok(Receipt {
                seq,
                duplicate: true,
            });
        }
        let len = record::len_of(draft) as u64;
        let header = &self.position.header;
        let more = Addition {
            count: 1,
            bytes: len,
        };
        let (limits, budgets) = (&self.spool.limits, &self.spool.budgets);
        let (after, added) =
            room::in_mailbox(limits, budgets, message.to, header, self.tail, more)?;
        budgets.count_share(message.to, header, after, added);
        let seq = self.tail.seq.saturating_add(1);
        record::encode(&mut self.bytes, draft, seq, header.epoch, self.tail.offset);
        self.tail = Tail {
            seq,
            offset: self.tail.offset + len,
        };
        self.encoded.push((draft, seq));
        Ok(Receipt {
            seq,
            duplicate: false,
        })
    }

    /// Returns the number of an earlier message with the id, sender and trust of `draft`, in the batch or in the mailbox.
    fn earlier(&self, draft: &Draft<'_>) -> Option<u64> {
        let is_same = |(other, _): &&(&Draft<'_>, u64)| other.is_same_message(draft);
        let in_batch = self.encoded.iter().find(is_same).map(|(_, seq)| *seq);
        in_batch.or_else(|| self.search.found(draft))
    }

    /// Returns the bytes to write and the resulting end of the mailbox, or `None` if there is no new message.
    pub(super) fn finish(self) -> Option<(Vec<u8>, Tail)> {
        (!self.encoded.is_empty()).then_some((self.bytes, self.tail))
    }
}
