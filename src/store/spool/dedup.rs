//! Whether a message is in a mailbox already: the same id from the same sender.
//!
//! The log itself is asked, from its end backwards, and nothing beside it: what is found there is what
//! a crash has left, so a message is never taken for stored that is not.

use std::fs::File;
use std::io;

use super::backwards::Backwards;
use super::mailbox::Header;
use super::repair::Tail;
use crate::message::Draft;

/// How many messages back is looked, at least.
pub(super) const WINDOW: usize = 4_096;
/// The number under which the message of `draft` is in the mailbox, if it is among the last 4,096.
///
/// # Errors
/// Those of `pread(2)`.
pub(super) fn find(
    file: &File,
    header: &Header,
    tail: Tail,
    draft: &Draft<'_>,
) -> io::Result<Option<u64>> {
    let mut back = Backwards::new(file, header.epoch, header.ids_offset, tail.offset);
    for _ in 0..WINDOW {
        let Some(head) = back.step()? else { break };
        if head.id == draft.id && back.sender(&head) == draft.from.as_bytes() {
            return Ok(Some(head.seq));
        }
    }
    Ok(None)
}
