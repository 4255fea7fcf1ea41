//! The format of a journal entry: records that were written to a mailbox, and their place in it. No I/O.
//!
//! ```text
//!  0  checksum     u32, of all behind it    12  length of the name  u8
//!  4  epoch        u32, of the mailbox      13  zero                3 bytes
//!  8  zero         u32                      16  offset              u64, in the mailbox
//!                                           24  name, then the records
//! ```
//!
//! The process that submitted an entry may be killed, and the next process with its slot may overwrite the entry while
//! the writer copies it. The checksum detects such an entry.

use crate::name::Name;
use crate::store::spool::format::record::{self, Head, u32_at, u64_at};

/// The length of the fixed part of an entry, in bytes.
pub(super) const HEAD: usize = 24;

/// Records that were written to a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JournalEntry<'b> {
    /// The name of the mailbox, valid for [`Name::new`].
    pub(super) name: &'b [u8],
    /// The epoch of the mailbox file. A rewritten mailbox has another epoch.
    pub(super) epoch: u32,
    /// The offset of the records in the mailbox.
    pub(super) offset: u64,
    /// One or more whole records.
    pub(super) records: &'b [u8],
}

impl<'b> JournalEntry<'b> {
    /// Encodes the fixed part of the entry, which the name and the records follow.
    pub(super) fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[4..8].copy_from_slice(&self.epoch.to_le_bytes());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a name has at most 50 bytes"
        )]
        let name_len = self.name.len() as u8;
        head[12] = name_len;
        head[16..].copy_from_slice(&self.offset.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        for part in [&head[4..], self.name, self.records] {
            hasher.update(part);
        }
        head[..4].copy_from_slice(&hasher.finalize().to_le_bytes());
        head
    }

    /// Decodes an entry; `None` when `bytes` are not exactly one valid entry.
    pub(super) fn decode(bytes: &'b [u8]) -> Option<Self> {
        let head: &[u8; HEAD] = bytes.first_chunk()?;
        if crc32fast::hash(&bytes[4..]) != u32_at(head, 0) {
            return None;
        }
        let (name, records) = bytes[HEAD..].split_at_checked(usize::from(head[12]))?;
        let entry = Self {
            name,
            epoch: u32_at(head, 4),
            offset: u64_at(head, 16),
            records,
        };
        (Name::new(name).is_ok() && entry.are_records()).then_some(entry)
    }

    /// Returns the end of the records in the mailbox.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.records.len() as u64
    }

    fn are_records(&self) -> bool {
        let mut at = 0;
        while let Some(head) = whole_at(&self.records[at..], self.epoch, self.offset + at as u64) {
            at += head.record_len();
            if at == self.records.len() {
                return true;
            }
        }
        false
    }
}

/// Returns the head of the record at the beginning of `bytes`, which belong at `offset`; `None` when it is not whole.
pub(super) fn whole_at(bytes: &[u8], epoch: u32, offset: u64) -> Option<Head> {
    let head = record::decode_head(bytes, epoch, offset)?;
    record::is_whole(bytes, &head, epoch, offset).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Draft, Fields, MessageId, Trust};

    #[test]
    fn round_trip_and_any_flipped_bit_is_found() {
        let from = Name::new(b"al").expect("a name");
        let mut records = Vec::new();
        for seq in 5..8 {
            let draft = Draft {
                id: MessageId([7; 16]),
                from: &from,
                trust: Trust::Open,
                at: 1,
                expires: None,
                once: false,
                body: b"hi",
                fields: Fields::default(),
            };
            let offset = 1_024 + records.len() as u64;
            record::encode(&mut records, &draft, seq, 9, offset);
        }
        let entry = JournalEntry {
            name: b"bob",
            epoch: 9,
            offset: 1_024,
            records: &records,
        };
        let mut bytes = [&entry.head()[..], entry.name, entry.records].concat();
        assert_eq!(JournalEntry::decode(&bytes), Some(entry));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(JournalEntry::decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..bytes.len() {
            assert_eq!(JournalEntry::decode(&bytes[..len]), None, "{len} bytes");
        }
        // A valid checksum does not suffice: the records must belong at the offset, and the name must be valid.
        let elsewhere = JournalEntry {
            offset: 2_048,
            ..entry
        };
        let bytes = [&elsewhere.head()[..], entry.name, entry.records].concat();
        assert_eq!(JournalEntry::decode(&bytes), None);
        let invalid_name = JournalEntry {
            name: b"../x",
            ..entry
        };
        let bytes = [&invalid_name.head()[..], invalid_name.name, entry.records].concat();
        assert_eq!(JournalEntry::decode(&bytes), None);
    }
}
