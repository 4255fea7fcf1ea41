//! The records of messages to one mailbox, gathered for one write.

use std::fs::File;
use std::path::Path;

use super::layout::Spool;
use super::mailbox::Header;
use super::repair::Tail;
use super::{dedup, record};
use crate::store::{Delivery, Receipt, StoreError};

/// What became of one message.
pub(super) type Outcome = Result<Receipt, StoreError>;

/// Gathers the records of messages to one mailbox.
pub(super) struct Appender<'a> {
    pub(super) spool: &'a Spool,
    pub(super) file: &'a File,
    pub(super) path: &'a Path,
    pub(super) header: &'a Header,
    /// Where the next record goes, once all before it are written.
    pub(super) tail: Tail,
    pub(super) bytes: Vec<u8>,
}

impl Appender<'_> {
    /// The records of these messages, one behind the other; what becomes of each once they are written.
    pub(super) fn encode_all<'m>(
        &mut self,
        messages: impl Iterator<Item = &'m Delivery<'m>>,
    ) -> Vec<Outcome> {
        let on_disk = self.tail;
        let mut encoded: Vec<(&Delivery<'_>, u64)> = Vec::new();
        messages
            .map(|message| {
                if message.draft.once {
                    let same = |(other, _): &&(&Delivery<'_>, u64)| {
                        other.draft.id == message.draft.id && other.draft.from == message.draft.from
                    };
                    let earlier = match encoded.iter().find(same) {
                        Some((_, seq)) => Some(*seq),
                        None => dedup::find(self.file, self.header, on_disk, &message.draft)
                            .map_err(StoreError::system("read", self.path))?,
                    };
                    if let Some(seq) = earlier {
                        return Ok(Receipt {
                            seq,
                            duplicate: true,
                        });
                    }
                }
                let seq = self.encode(message)?;
                encoded.push((message, seq));
                Ok(Receipt {
                    seq,
                    duplicate: false,
                })
            })
            .collect()
    }

    fn encode(&mut self, message: &Delivery<'_>) -> Result<u64, StoreError> {
        let len = record::len_of(&message.draft) as u64;
        self.spool
            .room_in(message.to, self.header, self.tail, len)?;
        let seq = self.tail.seq.saturating_add(1);
        record::encode(
            &mut self.bytes,
            &message.draft,
            seq,
            self.header.epoch,
            self.tail.offset,
        );
        self.tail = Tail {
            seq,
            offset: self.tail.offset + len,
        };
        Ok(seq)
    }
}
