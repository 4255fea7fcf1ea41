//! Retention: drops old acknowledged messages and frees their space.
//!
//! Two boundaries advance through the acknowledged part of a mailbox. Messages before the kept offset are dropped, by
//! age and by size. Between the ids offset and the kept offset their heads remain, so that a message that is sent again
//! is recognised, and only the space of long bodies is freed. New boundaries are durable before any space is freed.

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use arrayvec::ArrayVec;

use super::format::header::{Header, RECORDS};
use super::format::record::{self, HEAD, Head, TRAILER};
use super::format::walk::{Step, Walk};
use super::ids::{self, IDS, Remembered};
use crate::name::MAX_NAME;
use crate::store::Limits;
use crate::sys::file;

/// Smallest unit that the file system frees, in bytes.
const BLOCK: u64 = 4_096;
/// Bytes gathered before they are freed, because each call costs a file system transaction.
const PORTION: u64 = 64 * 1024;

/// The ranges of a mailbox whose space is to be freed.
#[derive(Debug, Default)]
pub(super) struct Gone {
    ranges: Vec<(u64, u64)>,
    /// The messages of verified senders whose heads are dropped.
    pub(super) ids: VecDeque<Remembered>,
}

/// Advances the boundaries of `header` as far as `limits` demand at `now` (milliseconds since 1970). Returns the space
/// to free.
///
/// # Errors
/// Errors from `pread(2)`.
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
    // Tolerate an excess of a quarter, so that this is not repeated for each message.
    let too_much = history
        > limits
            .history_bytes
            .saturating_add(limits.history_bytes / 4);
    if !too_much && !oldest.is_some_and(|(head, _)| stale(head.at)) {
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
    forget_ids(file, header, &mut gone.ids)?;
    gone.ranges.retain(|(from, _)| *from >= header.ids_offset);
    if header.ids_offset / PORTION > before.ids_offset / PORTION {
        gone.ranges.push((
            RECORDS.next_multiple_of(BLOCK),
            header.ids_offset / BLOCK * BLOCK,
        ));
    }
    Ok(gone)
}

/// Advances the ids offset. Of the last [`IDS`] messages, keeps the heads from the first on that may be sent again. Adds
/// the dropped ones of verified senders to `dropped`.
fn forget_ids(
    file: &File,
    header: &mut Header,
    dropped: &mut VecDeque<Remembered>,
) -> io::Result<()> {
    let last = header.acked_seq.saturating_sub(IDS as u64);
    while header.ids_offset < header.kept_offset {
        let offset = header.ids_offset;
        match head_at(file, header.epoch, offset, header.kept_offset)? {
            Some((head, _)) if head.once && head.seq > last => break,
            Some((head, sender)) => {
                ids::remember(dropped, Remembered::of_head(&head, offset, &sender));
                header.ids_offset += head.record_len() as u64;
            }
            // Bad bytes: the ids from here to the kept offset are not worth a search.
            None => header.ids_offset = header.kept_offset,
        }
    }
    Ok(())
}

/// Reads the head and the sender of the record at `offset`, if there is a record that ends by `end`.
fn head_at(
    file: &File,
    epoch: u32,
    offset: u64,
    end: u64,
) -> io::Result<Option<(Head, ArrayVec<u8, MAX_NAME>)>> {
    if offset >= end {
        return Ok(None);
    }
    let mut bytes = [0; HEAD + MAX_NAME];
    let n = file::read_at(file, &mut bytes, offset)?;
    let head = record::decode_head(&bytes[..n], epoch, offset);
    let head = head.filter(|head| offset + head.record_len() as u64 <= end);
    Ok(head.map(|head| {
        let sender = bytes[HEAD..].iter().take(head.sender_len);
        (head, sender.copied().collect())
    }))
}

impl Gone {
    /// Adds the blocks of a record that contain only its body.
    fn body(&mut self, offset: u64, end: u64) {
        let from = (offset + (HEAD + MAX_NAME) as u64).next_multiple_of(BLOCK);
        let to = (end - TRAILER as u64) / BLOCK * BLOCK;
        if from < to {
            self.ranges.push((from, to));
        }
    }

    /// Frees the space. The header with the new boundaries must be durable. Returns whether the file system can punch
    /// holes.
    ///
    /// # Errors
    /// Errors from `fallocate(2)`. They only waste space, which a later call frees.
    pub(super) fn give_back(&self, file: &File) -> io::Result<bool> {
        for &(from, to) in &self.ranges {
            if !file::punch(file, from, to)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns whether the rest of a mailbox of `len` bytes is worth copying: more than half of it is dropped, and more
/// than history may take.
pub(super) fn is_worth_copying(header: &Header, len: u64, limits: &Limits) -> bool {
    let forgotten = header.ids_offset - RECORDS;
    forgotten > limits.history_bytes && forgotten > len.saturating_sub(header.ids_offset)
}
