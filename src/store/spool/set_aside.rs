//! Sets the messages of a name aside when it gets another owner.

use std::io;

use super::compact::MailboxWriter;
use super::format::end;
use super::handle::Spool;
use super::repair;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::clock::unix_millis;
use crate::sys::file;

/// Moves the messages of `name`, waiting and acknowledged, to a file in `released/`, durably. Leaves an empty mailbox, whose
/// numbers continue. The lock of the mailbox must be held.
///
/// The mailbox file is replaced, not truncated: processes that have the old one open see that its name is gone.
///
/// # Errors
/// I/O errors. The mailbox is then unchanged, or the copy is complete and the mailbox is empty.
pub(super) fn set_aside(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    let path = spool.paths.mailbox_path(name);
    let Some(old) = spool.paths.mailbox(name)? else {
        return Ok(());
    };
    let read = |e: io::Error| StoreError::system("read", &path)(e);
    let len = file::facts(&old).map_err(read)?.len;
    let Some(header) = repair::header(&old, &path, len)? else {
        // It has no message.
        return Ok(());
    };
    let end = end::find(&old, &header, len).map_err(read)?;
    let last = match end.seq {
        Some(seq) => seq,
        None => repair::mend_tail(&spool.paths, name, &old, &header, end.offset)?.seq,
    };
    let last = last.max(header.acked_seq);
    let released = spool.paths.released()?;
    let (temporary, kept) = (format!(".{name}.new"), format!("{name}@{}", unix_millis()));
    let copied = || -> io::Result<()> {
        let copy = released.file_or_new(&temporary)?;
        file::truncate(&copy, 0)?;
        file::copy(&old, &copy)?;
        file::sync(&copy)?;
        released.rename(&temporary, &kept)?;
        released.sync()
    };
    copied().map_err(StoreError::system("write", released.path_of(&kept)))?;
    MailboxWriter::begin(spool, name)?.finish(last)?;
    log::info!(
        "set the messages of {name} aside in {}",
        released.path_of(&kept).display()
    );
    Ok(())
}

/// Returns whether the mailbox of `name` has acknowledged messages whose ids are still kept.
///
/// False after [`set_aside`], so that an interrupted claim does not set aside the messages that have arrived since.
///
/// # Errors
/// I/O errors.
pub(super) fn was_read(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    let path = spool.paths.mailbox_path(name);
    let Some(mailbox) = spool.paths.mailbox(name)? else {
        return Ok(false);
    };
    let len = file::facts(&mailbox)
        .map_err(StoreError::system("look at", &path))?
        .len;
    let header = repair::header(&mailbox, &path, len)?;
    Ok(header.is_some_and(|header| header.acked_offset > header.ids_offset))
}
