//! Sets the messages of a name aside when it gets another owner.

use std::fs::File;
use std::io;
use std::ops::Range;

use super::compact::MailboxWriter;
use super::format::header::RECORDS;
use super::handle::Spool;
use super::released::{Released, incomplete};
use super::settle::{self, settle};
use super::{repair, room};
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
    settle(spool, name)?;
    let Some((mailbox, header)) = settle::header(spool, name)? else {
        return Ok(());
    };
    let path = spool.paths.mailbox_path(name);
    let facts = file::facts(&mailbox).map_err(StoreError::system("look at", &path))?;
    let tail = repair::tail(&spool.paths, name, &mailbox, &header, facts.len)?;
    let empty = || MailboxWriter::begin(spool, name)?.finish(tail.seq.max(header.acked_seq));
    let messages = header.kept_offset..tail.offset;
    if messages.is_empty() {
        return empty();
    }
    room::must_have(
        &spool.paths.mail,
        &spool.limits,
        messages.end - messages.start,
    )?;
    let dir = spool.paths.released()?;
    let Some(released) = Released::list(spool, Some(name))? else {
        return Err(StoreError::no_spool(dir.path(), "it was removed"));
    };
    let kept = released.new_file(name, from).file();
    let path = dir.path_of(&kept);
    let set_aside = copy(&dir, name, &mailbox, messages, &kept)
        .map_err(StoreError::system("write", &path))
        .and_then(|()| empty());
    set_aside.inspect_err(|_| {
        // Either the mailbox or the copy has the messages. If this fails as well, the next attempt repeats it.
        let _ = settle(spool, name);
    })?;
    log::info!("set the messages of {name} aside in {}", path.display());
    Ok(())
}

/// Copies the header and the `messages` of a mailbox to the file `kept` in `dir`, durably. The earlier bytes, whose
/// blocks were given back, stay a hole.
fn copy(
    dir: &Dir,
    name: &Name,
    mailbox: &File,
    messages: Range<u64>,
    kept: &str,
) -> io::Result<()> {
    let temporary = incomplete(name);
    let write = || {
        let copy = dir.file_or_new(&temporary)?;
        file::truncate(&copy, 0)?;
        file::copy(mailbox, &copy, 0..RECORDS)?;
        file::copy(mailbox, &copy, messages)?;
        file::sync(&copy)?;
        dir.rename(&temporary, kept)
    };
    write().inspect_err(|_| {
        // If this fails as well, the next attempt overwrites it.
        let _ = dir.remove(&temporary);
    })?;
    dir.sync()
}
