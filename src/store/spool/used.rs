//! Whether clients have used a mailbox while its name had no owner. If so, the first owner of the name begins with an
//! empty mailbox.

use std::fs::File;

use super::format::header::Header;
use super::handle::Spool;
use super::lock::lock;
use super::user_files::has_owner_record;
use super::{mailbox, repair};
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file;

/// Records that a client reads the mailbox in `file`, with this `header`, if its name has no owner. The caller syncs the
/// file before the client gets a message. Returns whether the name has an owner.
///
/// # Errors
/// I/O errors.
pub(super) fn note_reader(
    spool: &Spool,
    name: &Name,
    file: &File,
    header: &Header,
) -> Result<bool, StoreError> {
    if has_owner_record(spool, name)? {
        return Ok(true);
    }
    if header.read_unowned {
        return Ok(false);
    }
    let _lock = lock(&spool.paths, name)?;
    // Under the lock: a claim that began meanwhile has looked at the mailbox, and no longer lets the client read.
    let is_owned = has_owner_record(spool, name)?;
    if !is_owned {
        set_flag(spool, name, file)?;
    }
    Ok(is_owned)
}

/// Durably records that clients have used `name`. The lock of the mailbox must be held.
///
/// # Errors
/// I/O errors.
pub(super) fn note_use(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    let Some(file) = spool.paths.mailbox(name)? else {
        return Ok(());
    };
    if set_flag(spool, name, &file)? {
        mailbox::sync(&file, &spool.paths.mailbox_path(name))?;
    }
    Ok(())
}

/// Sets the flag in the header of a mailbox, unless it is set or the mailbox cannot be written. Returns whether it did.
fn set_flag(spool: &Spool, name: &Name, file: &File) -> Result<bool, StoreError> {
    let path = spool.paths.mailbox_path(name);
    let facts = file::facts(file).map_err(StoreError::system("look at", &path))?;
    let header = Header::read(file).map_err(StoreError::system("read", &path))?;
    let Some(header) = header.filter(|header| facts.writable && !header.read_unowned) else {
        return Ok(false);
    };
    let header = Header {
        read_unowned: true,
        ..header
    };
    header
        .write_next(file)
        .map_err(StoreError::system("write", &path))?;
    Ok(true)
}

/// Returns whether clients have used the mailbox of `name`. False after its messages were set aside, so that an
/// interrupted claim does not set aside the messages that have arrived since.
///
/// # Errors
/// I/O errors.
pub(super) fn was_used(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    let path = spool.paths.mailbox_path(name);
    let Some(mailbox) = spool.paths.mailbox(name)? else {
        return Ok(false);
    };
    let len = file::facts(&mailbox)
        .map_err(StoreError::system("look at", &path))?
        .len;
    let header = repair::header(&mailbox, &path, len)?;
    Ok(header.is_some_and(|header| header.is_used()))
}
