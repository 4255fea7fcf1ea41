//! Reads acknowledged messages, and traces a single message.

use super::format::backwards::Backwards;
use super::format::place::end_of_records_below;
use super::handle::Spool;
use super::survey::View;
use crate::message::Stored;
use crate::name::Name;
use crate::store::{State, StoreError, Trace};

/// Passes whole acknowledged messages with numbers below `before` to `each`, newest first, until it returns `false`.
///
/// # Errors
/// [`StoreError::Damaged`]; I/O errors.
pub(super) fn history(
    spool: &Spool,
    of: &Name,
    before: Option<u64>,
    each: &mut dyn FnMut(&Stored<'_>) -> bool,
) -> Result<(), StoreError> {
    let Some(view) = View::open(spool, of)? else {
        return Ok(());
    };
    let Some(header) = view.sound_header()? else {
        return Ok(());
    };
    let read = |e| StoreError::system("read", &view.path)(e);
    let (first, mut last) = (header.kept_offset, header.acked_offset);
    if let Some(before) = before {
        let found = end_of_records_below(&view.file, header.epoch, first, last, before);
        last = found.map_err(read)?;
    }
    let mut back = Backwards::new(&view.file, header.epoch, first, last);
    while let Some(head) = back.step().map_err(read)? {
        let message = back.record(&head).map_err(read)?;
        if message.is_some_and(|message| !each(&message)) {
            break;
        }
    }
    Ok(())
}

/// Returns what is known of message `seq`. Needs only its head, which is kept longer than the whole message.
///
/// # Errors
/// [`StoreError::Damaged`]; I/O errors.
pub(super) fn trace(spool: &Spool, of: &Name, seq: u64) -> Result<Option<Trace>, StoreError> {
    let Some(view) = View::open(spool, of)? else {
        return Ok(None);
    };
    let Some(header) = view.sound_header()? else {
        return Ok(None);
    };
    let read = |e| StoreError::system("read", &view.path)(e);
    let (first, behind) = (header.ids_offset, seq.saturating_add(1));
    let end = end_of_records_below(&view.file, header.epoch, first, view.len, behind);
    let end = end.map_err(read)?;
    let mut back = Backwards::new(&view.file, header.epoch, first, end);
    if let Some(head) = back.step().map_err(read)? {
        let from = Name::new(back.sender(&head)).ok();
        let from = from.filter(|_| head.seq == seq);
        return Ok(from.map(|from| Trace {
            from,
            trust: head.trust,
            at: head.at,
            expires: head.expires(),
            state: if seq <= header.acked_seq {
                State::Read
            } else {
                State::Waiting
            },
        }));
    }
    Ok(None)
}
