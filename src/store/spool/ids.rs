//! Remembered ids: the last 4,096 ids of messages of verified senders, apart from all others, so that messages of
//! strangers do not push them out of the window in which a repeated message is recognised.
//!
//! The file `mail/3f/.bob.ids` is a ring of entries, which says where in the mailbox the messages are. It begins to
//! exist when the mailbox has more messages than a search reads. The first append of each [`EVERY`] numbers adds the
//! messages since the last time, after its own message is durable.
//!
//! The file is only a hint, and never synced: an entry counts if the mailbox has the message at that place. Before the
//! mailbox drops the head of a message, whose reader made it durable, the entry is marked as confirmed, and counts
//! without it. A power cut may lose entries; then the window is that of all messages. The epoch in the header of the file
//! is that of the mailbox: a mailbox that replaces another one, for a new owner, begins without ids.
//!
//! ```text
//! 0   magic, epoch  u32     entry, 88 bytes:
//! 8   indexed       u64      0  id, seq u64, offset u64    33  sender
//! 16  entries       u64     32  sender length u8           83  1: confirmed
//! 24  checksum      u32                                    84  checksum u32
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use super::format::backwards::Backwards;
use super::format::end::Tail;
use super::format::header::Header;
use super::format::record::{Head, checksum, u32_at, u64_at};
use super::handle::Spool;
use super::paths::LOCK_TIMEOUT;
use crate::message::{MessageId, Stored, Trust};
use crate::name::{MAX_NAME, Name};
use crate::sys::file;
use crate::sys::lock::HeldLock;

/// Minimum number of messages whose ids are kept, and number of messages searched for duplicates: of all senders, and of
/// verified ones.
pub(super) const IDS: usize = 4_096;
/// How many numbers a mailbox gives out before the next messages are added. Less than the window of all messages, so that
/// the window covers those that are not added yet.
pub(super) const EVERY: u64 = IDS as u64 / 2;

const MAGIC: [u8; 4] = *b"DlI\x01";
const HEADER: usize = 64;
const ENTRY: usize = 88;

/// A remembered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) id: MessageId,
    pub(super) seq: u64,
    /// The offset of its record in the mailbox.
    pub(super) offset: u64,
    pub(super) from: Name,
    /// Whether the mailbox has dropped the record of an acknowledged message.
    pub(super) confirmed: bool,
}

impl Remembered {
    /// Returns the entry of a message at `offset`; `None` if its sender is not verified or does not repeat it.
    pub(super) fn of(message: &Stored<'_>, offset: u64) -> Option<Self> {
        (message.trust != Trust::Open && message.once).then(|| Self {
            id: message.id,
            seq: message.seq,
            offset,
            from: message.from.clone(),
            confirmed: false,
        })
    }

    /// Like [`of`](Self::of), from the head and the sender of a record.
    pub(super) fn of_head(head: &Head, offset: u64, sender: &[u8]) -> Option<Self> {
        if head.trust == Trust::Open || !head.once {
            return None;
        }
        Some(Self {
            id: head.id,
            seq: head.seq,
            offset,
            from: Name::new(sender).ok()?,
            confirmed: false,
        })
    }

    fn encode(&self, epoch: u32, place: u64) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        let from = self.from.as_bytes();
        bytes[..16].copy_from_slice(&self.id.0);
        bytes[16..24].copy_from_slice(&self.seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.offset.to_le_bytes());
        bytes[32] = u8::try_from(from.len()).unwrap_or(0);
        bytes[33..33 + from.len()].copy_from_slice(from);
        bytes[83] = u8::from(self.confirmed);
        let sum = checksum(&bytes[..84], epoch, place);
        bytes[84..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], epoch: u32, place: u64) -> Option<Self> {
        let bytes: &[u8; ENTRY] = bytes.first_chunk()?;
        if checksum(&bytes[..84], epoch, place) != u32_at(bytes, 84) {
            return None;
        }
        let from = bytes[33..33 + MAX_NAME].get(..usize::from(bytes[32]))?;
        Some(Self {
            id: MessageId(*bytes.first_chunk()?),
            seq: u64_at(bytes, 16),
            offset: u64_at(bytes, 24),
            from: Name::new(from).ok()?,
            confirmed: bytes[83] == 1,
        })
    }
}

/// The header of the file.
#[derive(Clone, Copy, Debug)]
struct Ring {
    epoch: u32,
    /// The offset in the mailbox up to which its messages were added.
    indexed: u64,
    /// The number of entries ever written.
    entries: u64,
}

impl Ring {
    fn new(epoch: u32) -> Self {
        Self {
            epoch,
            indexed: 0,
            entries: 0,
        }
    }

    /// Reads the header of `file`; an empty ring if it is that of another mailbox.
    fn read(file: &File, epoch: u32) -> io::Result<Self> {
        let mut bytes = [0; HEADER];
        file::read_at(file, &mut bytes, 0)?;
        let is_valid = bytes[..4] == MAGIC
            && u32_at(&bytes, 4) == epoch
            && checksum(&bytes[..24], epoch, 0) == u32_at(&bytes, 24);
        if !is_valid {
            return Ok(Self::new(epoch));
        }
        Ok(Self {
            epoch,
            indexed: u64_at(&bytes, 8),
            entries: u64_at(&bytes, 16),
        })
    }

    fn write(&self, file: &File) -> io::Result<()> {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.indexed.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.entries.to_le_bytes());
        let sum = checksum(&bytes[..24], self.epoch, 0);
        bytes[24..28].copy_from_slice(&sum.to_le_bytes());
        file::write_at(file, &bytes, 0)
    }

    /// Returns the offset of entry `number`.
    fn place(number: u64) -> u64 {
        HEADER as u64 + number % IDS as u64 * ENTRY as u64
    }

    /// Passes the valid entries and their offsets in the file to `each`.
    fn each(&self, file: &File, mut each: impl FnMut(u64, Remembered)) -> io::Result<()> {
        let count = usize::try_from(self.entries).map_or(IDS, |entries| entries.min(IDS));
        let mut bytes = vec![0; count * ENTRY];
        let n = file::read_at(file, &mut bytes, HEADER as u64)?;
        for (number, entry) in (0..).zip(bytes[..n].chunks(ENTRY)) {
            let place = Self::place(number);
            if let Some(entry) = Remembered::decode(entry, self.epoch, place) {
                each(place, entry);
            }
        }
        Ok(())
    }

    /// Adds an entry in place of the oldest one.
    fn push(&mut self, file: &File, entry: &Remembered) -> io::Result<()> {
        let place = Self::place(self.entries);
        file::write_at(file, &entry.encode(self.epoch, place), place)?;
        self.entries += 1;
        Ok(())
    }
}

/// Passes the remembered messages of the mailbox of `name`, which has this epoch, to `each`.
///
/// # Errors
/// Errors from `openat(2)` and `pread(2)`.
pub(super) fn each(
    spool: &Spool,
    name: &Name,
    epoch: u32,
    mut each: impl FnMut(Remembered),
) -> io::Result<()> {
    let Some(file) = spool.paths.ids(name)? else {
        return Ok(());
    };
    Ring::read(&file, epoch)?.each(&file, |_, entry| each(entry))
}

/// Adds the messages of a mailbox that ends at `tail` and has come past the next [`EVERY`] numbers. Best effort, because
/// the window of all messages remains. Does nothing while another process adds them.
pub(super) fn index(spool: &Spool, name: &Name, mailbox: &File, header: &Header, tail: Tail) {
    if let Err(e) = add_new(spool, name, mailbox, header, tail) {
        log::debug!("cannot remember ids of {name}: {e}");
    }
}

fn add_new(
    spool: &Spool,
    name: &Name,
    mailbox: &File,
    header: &Header,
    tail: Tail,
) -> io::Result<()> {
    let there = spool.paths.ids(name)?;
    let _held = match &there {
        Some(file) => match HeldLock::attempt(file)? {
            Some(held) => Some(held),
            None => return Ok(()),
        },
        None => None,
    };
    let ring = match &there {
        Some(file) => Ring::read(file, header.epoch)?,
        None => Ring::new(header.epoch),
    };
    let mut new = Vec::new();
    let stop = ring.indexed.max(header.ids_offset);
    let mut back = Backwards::new(mailbox, header.epoch, stop, tail.offset);
    for _ in 0..IDS {
        let Some(head) = back.step()? else { break };
        new.extend(Remembered::of_head(
            &head,
            back.begins_at(),
            back.sender(&head),
        ));
    }
    match &there {
        Some(file) => append(file, ring, new.iter().rev(), tail.offset),
        // Usually no sender is verified, and no file is needed.
        None if new.is_empty() => Ok(()),
        None => {
            let file = spool.paths.ids_or_new(name)?;
            let Some(_held) = HeldLock::attempt(&file)? else {
                return Ok(());
            };
            append(&file, ring, new.iter().rev(), tail.offset)
        }
    }
}

fn append<'e>(
    file: &File,
    mut ring: Ring,
    new: impl Iterator<Item = &'e Remembered>,
    indexed: u64,
) -> io::Result<()> {
    for entry in new {
        ring.push(file, entry)?;
    }
    ring.indexed = ring.indexed.max(indexed);
    ring.write(file)
}

/// Confirms messages that the mailbox of `name` is about to drop. Best effort.
pub(super) fn confirm(spool: &Spool, name: &Name, epoch: u32, dropped: &VecDeque<Remembered>) {
    if dropped.is_empty() {
        return;
    }
    let confirm = || -> io::Result<()> {
        let file = spool.paths.ids_or_new(name)?;
        let Some(_held) = HeldLock::within(&file, LOCK_TIMEOUT)? else {
            return Ok(());
        };
        let mut ring = Ring::read(&file, epoch)?;
        let mut places = Vec::new();
        ring.each(&file, |place, entry| places.push((entry.offset, place)))?;
        places.sort_unstable();
        for entry in dropped {
            let entry = Remembered {
                confirmed: true,
                ..entry.clone()
            };
            match places.binary_search_by_key(&entry.offset, |(offset, _)| *offset) {
                Ok(at) => {
                    let place = places[at].1;
                    file::write_at(&file, &entry.encode(epoch, place), place)?;
                }
                Err(_) => ring.push(&file, &entry)?,
            }
        }
        ring.write(&file)
    };
    if let Err(e) = confirm() {
        log::debug!("cannot remember ids of {name}: {e}");
    }
}

/// Writes the ring of a mailbox that has replaced the one with the epoch `old`, if any: the confirmed entries of that one,
/// and those of the `copied` messages. The new mailbox, of `messages` messages, has the `epoch` and ends at `end`. Best
/// effort.
pub(super) fn follow(
    spool: &Spool,
    name: &Name,
    old: Option<u32>,
    epoch: u32,
    copied: &Copied,
    end: u64,
) {
    let follow = || -> io::Result<()> {
        let mut entries = VecDeque::new();
        if let (Some(old), Some(file)) = (old, spool.paths.ids(name)?) {
            let ring = Ring::read(&file, old)?;
            ring.each(&file, |_, entry| {
                if entry.confirmed {
                    // Its offset is none of the new mailbox.
                    entries.push_back(Remembered { offset: 0, ..entry });
                }
            })?;
        }
        if copied.messages > EVERY {
            entries.extend(copied.ids.iter().cloned());
        }
        if entries.is_empty() {
            return Ok(());
        }
        let file = spool.paths.ids_or_new(name)?;
        let Some(_held) = HeldLock::within(&file, LOCK_TIMEOUT)? else {
            return Ok(());
        };
        append(&file, Ring::new(epoch), entries.iter(), end)
    };
    if let Err(e) = follow() {
        log::debug!("cannot remember ids of {name}: {e}");
    }
}

/// What a writer of a mailbox has copied.
#[derive(Debug, Default)]
pub(super) struct Copied {
    messages: u64,
    ids: VecDeque<Remembered>,
}

impl Copied {
    /// Counts a message, and remembers the id of a verified sender.
    pub(super) fn push(&mut self, id: Option<Remembered>) {
        self.messages += 1;
        remember(&mut self.ids, id);
    }
}

/// Adds an entry to the last [`IDS`].
pub(super) fn remember(ids: &mut VecDeque<Remembered>, id: Option<Remembered>) {
    if let Some(id) = id {
        if ids.len() >= IDS {
            ids.pop_front();
        }
        ids.push_back(id);
    }
}
