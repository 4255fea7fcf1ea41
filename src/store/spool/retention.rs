//! History: how long acknowledged messages are kept, and how their space is given back.
//!
//! Two boundaries move through a mailbox, both behind what is acknowledged. Before the kept offset the
//! messages are forgotten, by age and by size. Their heads stay a while longer, up to the ids offset, so
//! that a message which is sent again is recognised; of what is in between, only the long bodies are given
//! back. The boundaries are on the disk before anything is.

use std::fs::File;
use std::io;

use super::format::header::{Header, RECORDS};
use super::format::record::{self, HEAD, Head, TRAILER};
use super::format::walk::{Step, Walk};
use crate::name::MAX_NAME;
use crate::store::Limits;
use crate::sys::file;

/// Of how many messages the ids are kept at least, and looked for.
pub(super) const IDS: usize = 4_096;
/// What the file system gives back at the least.
const BLOCK: u64 = 4_096;
/// How much is gathered before it is given back: each time costs a transaction of the file system.
const PORTION: u64 = 64 * 1024;

/// What is to be given back.
#[derive(Debug, Default)]
pub(super) struct Gone {
    ranges: Vec<(u64, u64)>,
}

/// Moves the boundaries of `header` as far as the limits say, at the time `now`.
///
/// # Errors
/// Those of `pread(2)`.
pub(super) fn forget(
    file: &File,
    header: &mut Header,
    limits: &Limits,
    now: u64,
) -> io::Result<Gone> {
    let mut gone = Gone::default();
    let before = *header;
    let mut history = header.acked_offset.saturating_sub(header.kept_offset);
    let oldest = head_at(file, header.epoch, header.kept_offset, header.acked_offset)?;
    let stale = |at: u64| at.saturating_add(limits.history_millis) <= now;
    // By size, a quarter is let through first, so that it is not done again for each message.
    let too_much = history
        > limits
            .history_bytes
            .saturating_add(limits.history_bytes / 4);
    if !too_much && !oldest.is_some_and(|head| stale(head.at)) {
        return Ok(gone);
    }
    let mut walk = Walk::new(header.epoch, header.kept_offset, header.acked_offset);
    loop {
        let step = walk.step(file)?;
        let (offset, end) = match step {
            Step::End => break,
            Step::Bad { offset, end } => (offset, end),
            Step::Record { offset, end, seq } => {
                let at = walk.record().map_or(0, |message| message.at);
                if history <= limits.history_bytes && !stale(at) {
                    break;
                }
                header.kept_seq = seq;
                gone.body(offset, end);
                (offset, end)
            }
        };
        history -= end - offset;
        header.kept_offset = end;
    }
    forget_ids(file, header)?;
    gone.ranges.retain(|(from, _)| *from >= header.ids_offset);
    if header.ids_offset / PORTION > before.ids_offset / PORTION {
        gone.ranges.push((
            RECORDS.next_multiple_of(BLOCK),
            header.ids_offset / BLOCK * BLOCK,
        ));
    }
    Ok(gone)
}

/// Moves the ids offset: heads are kept of the last messages, as many as deduplication looks at, from the
/// first of them on that may be sent again.
fn forget_ids(file: &File, header: &mut Header) -> io::Result<()> {
    let last = header.acked_seq.saturating_sub(IDS as u64);
    while header.ids_offset < header.kept_offset {
        match head_at(file, header.epoch, header.ids_offset, header.kept_offset)? {
            Some(head) if head.once && head.seq > last => break,
            Some(head) => header.ids_offset += head.record_len() as u64,
            // Bad bytes: nothing between them and the next whole record is worth keeping.
            None => header.ids_offset = header.kept_offset,
        }
    }
    Ok(())
}

/// The head of the record at `offset`, if there is one that ends by `end`.
fn head_at(file: &File, epoch: u32, offset: u64, end: u64) -> io::Result<Option<Head>> {
    if offset >= end {
        return Ok(None);
    }
    let mut bytes = [0; HEAD];
    let n = file::read_at(file, &mut bytes, offset)?;
    let head = record::decode_head(&bytes[..n], epoch, offset);
    Ok(head.filter(|head| offset + head.record_len() as u64 <= end))
}

impl Gone {
    /// The blocks of a record that hold nothing but its body.
    fn body(&mut self, offset: u64, end: u64) {
        let from = (offset + (HEAD + MAX_NAME) as u64).next_multiple_of(BLOCK);
        let to = (end - TRAILER as u64) / BLOCK * BLOCK;
        if from < to {
            self.ranges.push((from, to));
        }
    }

    /// Gives the space back. The header that says so must be on the disk. Returns whether the file system
    /// can do that.
    ///
    /// # Errors
    /// Those of `fallocate(2)`. It is only space: whatever comes next tries again.
    pub(super) fn give_back(&self, file: &File) -> io::Result<bool> {
        for &(from, to) in &self.ranges {
            if !file::punch(file, from, to)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether more than half of a mailbox of `len` bytes is forgotten, and more than history may take: then
/// it is worth copying the rest.
pub(super) fn is_worth_copying(header: &Header, len: u64, limits: &Limits) -> bool {
    let forgotten = header.ids_offset - RECORDS;
    forgotten > limits.history_bytes && forgotten > len.saturating_sub(header.ids_offset)
}
