//! Sets the messages of a name aside when it gets another owner.

use std::fs::File;
use std::io;

use super::compact::MailboxWriter;
use super::handle::Spool;
use super::released::{Released, incomplete};
use super::repair;
use super::restore;
use crate::name::Name;
use crate::store::{FormerOwner, StoreError};
use crate::sys::dir::Dir;
use crate::sys::file;

/// Moves the messages of `name`, waiting and acknowledged, which belonged to `from`, to a file in `released/`, durably.
/// Leaves an empty mailbox, whose numbers continue. The lock of the mailbox must be held.
///
/// The mailbox file is replaced, not truncated: processes that have the old one open see that its name is gone.
///
/// # Errors
/// I/O errors. The mailbox is then unchanged, or the copy is complete and the mailbox is empty.
pub(super) fn set_aside(spool: &Spool, name: &Name, from: FormerOwner) -> Result<(), StoreError> {
    restore::settle(spool, name)?;
    let path = spool.paths.mailbox_path(name);
    let Some(old) = spool.paths.mailbox(name)? else {
        return Ok(());
    };
    let facts = file::facts(&old).map_err(StoreError::system("look at", &path))?;
    let Some(header) = repair::header(&old, &path, facts.len)? else {
        // It has no message.
        return Ok(());
    };
    let tail = repair::tail(&spool.paths, name, &old, &header, facts.len)?;
    let empty = || MailboxWriter::begin(spool, name)?.finish(tail.seq.max(header.acked_seq));
    if header.kept_offset == tail.offset {
        return empty();
    }
    let dir = spool.paths.released()?;
    let Some(released) = Released::list(spool, Some(name))? else {
        return Err(StoreError::no_spool(dir.path(), "it was removed"));
    };
    let kept = released.new_file(name, from).file();
    let path = dir.path_of(&kept);
    copy(&dir, name, &old, &kept).map_err(StoreError::system("write", &path))?;
    empty().inspect_err(|_| {
        // The mailbox still has the messages. If this fails as well, the next attempt removes the copy.
        let _ = released.remove(&kept);
    })?;
    log::info!("set the messages of {name} aside in {}", path.display());
    Ok(())
}

/// Copies a mailbox to the file `kept` in `dir`, durably.
fn copy(dir: &Dir, name: &Name, mailbox: &File, kept: &str) -> io::Result<()> {
    let temporary = incomplete(name);
    let copy = dir.file_or_new(&temporary)?;
    file::truncate(&copy, 0)?;
    file::copy(mailbox, &copy)?;
    file::sync(&copy)?;
    dir.rename(&temporary, kept)?;
    dir.sync()
}
