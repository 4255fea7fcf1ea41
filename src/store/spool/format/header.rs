//! The header of a mailbox file.
//!
//! The header has two slots in separate sectors. An update overwrites the older slot, so that a torn write
//! leaves the other. (A disk writes a sector of 512 bytes atomically.)
//!
//! ```text
//! 0     slot      0  magic         u32    24  acknowledged: seq     u64
//! 512   slot      4  checksum      u32    32  acknowledged: offset  u64
//! 1024  records   8  epoch         u32    40  kept: seq             u64
//!                12  flags         u32    48  kept: offset          u64
//!                16  generation    u64    56  ids: offset           u64
//! ```
//!
//! The offsets divide the file into regions, in this order:
//! - before the ids offset: space given back to the file system;
//! - up to the kept offset: forgotten records, whose heads remain so that duplicate ids are found;
//! - up to the acknowledged offset: history, which is whole;
//! - behind it: waiting records, then zeros or the end of the file.

use std::fs::File;
use std::io;

use super::record::{checksum, u32_at, u64_at};
use crate::sys::file;

/// The offset of the first record.
pub(crate) const RECORDS: u64 = HEADER as u64;
const HEADER: usize = 1024;
const SLOT: usize = 64;
const SLOT_AT: [usize; 2] = [0, 512];
const MAGIC: [u8; 4] = *b"DlM\x01";
/// The flag of a mailbox whose file name is durable.
const NAMED: u32 = 1;
/// The flag of a mailbox that clients used while its name had no owner.
const USED_UNOWNED: u32 = 2;
/// The flag of a mailbox to which a restore has added messages, and has not yet removed the file that had them.
const RESTORED: u32 = 4;
const KNOWN_FLAGS: u32 = NAMED | USED_UNOWNED | RESTORED;

/// The contents of a header slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// A random number that identifies this file.
    pub(crate) epoch: u32,
    /// Whether the name of the file is known to be durable.
    pub(crate) named: bool,
    /// Whether clients used it while its name had no owner.
    pub(crate) used_unowned: bool,
    /// Whether a restore has added messages, and has not yet removed the file that had them.
    pub(crate) restored: bool,
    /// Flags that this version does not define. Every copy keeps them.
    pub(crate) other_flags: u32,
    pub(crate) generation: u64,
    /// The number of the last acknowledged message, or 0.
    pub(crate) acked_seq: u64,
    /// The offset of the record after it.
    pub(crate) acked_offset: u64,
    /// The number of the last message that was forgotten, or 0.
    pub(crate) kept_seq: u64,
    /// The offset of the first whole record.
    pub(crate) kept_offset: u64,
    /// The offset of the first record whose head still exists.
    pub(crate) ids_offset: u64,
}

impl Header {
    /// Creates the header of a new mailbox.
    pub(crate) fn new(epoch: u32) -> Self {
        Self {
            epoch,
            named: false,
            used_unowned: false,
            restored: false,
            other_flags: 0,
            generation: 1,
            acked_seq: 0,
            acked_offset: RECORDS,
            kept_seq: 0,
            kept_offset: RECORDS,
            ids_offset: RECORDS,
        }
    }

    /// Moves the offsets into a file that was cut to `len` bytes. Acknowledged messages stay acknowledged.
    pub(crate) fn within(self, len: u64) -> Self {
        let len = len.max(RECORDS);
        Self {
            acked_offset: self.acked_offset.min(len),
            kept_offset: self.kept_offset.min(len),
            ids_offset: self.ids_offset.min(len),
            ..self
        }
    }

    /// Returns whether the offsets are in order and within a mailbox of `len` bytes.
    pub(crate) fn is_sane(&self, len: u64) -> bool {
        RECORDS <= self.ids_offset
            && self.ids_offset <= self.kept_offset
            && self.kept_offset <= self.acked_offset
            && self.acked_offset <= len
            && self.kept_seq <= self.acked_seq
    }

    /// Returns these boundaries with the flags and the generation of `other`.
    pub(crate) fn with_flags_of(&self, other: &Self) -> Self {
        Self {
            acked_seq: self.acked_seq,
            acked_offset: self.acked_offset,
            kept_seq: self.kept_seq,
            kept_offset: self.kept_offset,
            ids_offset: self.ids_offset,
            ..*other
        }
    }

    /// Reads the newest valid header of `file`; `None` when there is none.
    ///
    /// # Errors
    /// When `pread(2)` fails.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; SLOT_AT[1] + SLOT];
        let n = file::read_at(file, &mut bytes, 0)?;
        let slots = SLOT_AT.into_iter().filter_map(|at| {
            let slot = bytes[..n].get(at..)?.first_chunk()?;
            Self::decode(slot, at as u64)
        });
        Ok(slots.max_by_key(|header| header.generation))
    }

    /// Creates a header for a mailbox that has lost its own, from the epoch, offset and number of its first
    /// record. All messages wait. Its generation is 0, so that the first update writes generation 1.
    pub(crate) fn rebuilt(epoch: u32, first: u64, seq: u64) -> Self {
        Self {
            epoch,
            named: false,
            used_unowned: false,
            restored: false,
            other_flags: 0,
            generation: 0,
            acked_seq: seq.saturating_sub(1),
            acked_offset: first,
            kept_seq: seq.saturating_sub(1),
            kept_offset: first,
            ids_offset: first,
        }
    }

    /// Returns whether a slot of `file` is neither empty nor a valid header.
    ///
    /// # Errors
    /// When `pread(2)` fails.
    pub(crate) fn has_bad_slot(file: &File) -> io::Result<bool> {
        let mut bytes = [0; SLOT_AT[1] + SLOT];
        file::read_at(file, &mut bytes, 0)?;
        Ok(SLOT_AT.into_iter().any(|at| {
            let slot = bytes.get(at..).and_then(|rest| rest.first_chunk());
            slot.is_some_and(|slot| *slot != [0; SLOT] && Self::decode(slot, at as u64).is_none())
        }))
    }

    /// Returns whether the header of `file` is all zeros, which means that none ever reached the disk.
    ///
    /// # Errors
    /// When `pread(2)` fails.
    pub(crate) fn was_never_written(file: &File) -> io::Result<bool> {
        let mut bytes = [0; HEADER];
        file::read_at(file, &mut bytes, 0)?;
        Ok(bytes.iter().all(|&byte| byte == 0))
    }

    /// Writes the header with the next generation over the older slot of `file`. The caller holds the lock of
    /// the mailbox, and has read the header under the same lock.
    ///
    /// # Errors
    /// When `pwrite(2)` fails.
    pub(crate) fn write_next(mut self, file: &File) -> io::Result<()> {
        self.generation += 1;
        let at = self.slot_at();
        file::write_at(file, &self.encode(), at)
    }

    /// Encodes the first bytes of a new mailbox, up to the records.
    pub(crate) fn first_bytes(&self) -> Vec<u8> {
        let mut bytes = self.encode().to_vec();
        bytes.resize(HEADER, 0);
        bytes
    }

    fn slot_at(&self) -> u64 {
        // Generation 1 goes to the first slot.
        SLOT_AT[usize::from(self.generation.is_multiple_of(2))] as u64
    }

    fn encode(&self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        let known = [
            (self.named, NAMED),
            (self.used_unowned, USED_UNOWNED),
            (self.restored, RESTORED),
        ];
        let known = known.iter().filter(|(is_set, _)| *is_set);
        let flags = known.fold(self.other_flags, |flags, (_, flag)| flags | flag);
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        let numbers = [
            self.generation,
            self.acked_seq,
            self.acked_offset,
            self.kept_seq,
            self.kept_offset,
            self.ids_offset,
        ];
        for (place, number) in bytes[16..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let sum = checksum(&bytes[8..], self.epoch, self.slot_at());
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; SLOT], at: u64) -> Option<Self> {
        let epoch = u32_at(bytes, 8);
        if bytes[..4] != MAGIC || checksum(&bytes[8..], epoch, at) != u32_at(bytes, 4) {
            return None;
        }
        let flags = u32_at(bytes, 12);
        Some(Self {
            epoch,
            named: flags & NAMED != 0,
            used_unowned: flags & USED_UNOWNED != 0,
            restored: flags & RESTORED != 0,
            other_flags: flags & !KNOWN_FLAGS,
            generation: u64_at(bytes, 16),
            acked_seq: u64_at(bytes, 24),
            acked_offset: u64_at(bytes, 32),
            kept_seq: u64_at(bytes, 40),
            kept_offset: u64_at(bytes, 48),
            ids_offset: u64_at(bytes, 56),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_header_leaves_the_one_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(dir.path().join("m"))
            .expect("a file");
        let mut header = Header::new(77);
        file::write_at(&file, &header.first_bytes(), 0).expect("written");
        for seq in 1..5 {
            let before = Header::read(&file).expect("readable").expect("a header");
            header = before;
            header.acked_seq = seq;
            header.write_next(&file).expect("written");
            let after = Header::read(&file).expect("readable").expect("a header");
            assert_eq!(after.acked_seq, seq);
            // Any flipped bit in the newer slot makes the older one count.
            for bit in 0..SLOT as u64 * 8 {
                let at = after.slot_at() + bit / 8;
                let mut byte = [0];
                file::read_at(&file, &mut byte, at).expect("readable");
                file::write_at(&file, &[byte[0] ^ 1 << (bit % 8)], at).expect("written");
                assert_eq!(
                    Header::read(&file).expect("readable"),
                    Some(before),
                    "bit {bit}"
                );
                file::write_at(&file, &byte, at).expect("written");
            }
        }
    }

    #[test]
    fn zeros_are_no_header() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("m");
        std::fs::write(&path, [0; 1024]).expect("written");
        let file = File::open(path).expect("a file");
        assert_eq!(Header::read(&file).expect("readable"), None);
    }
}
