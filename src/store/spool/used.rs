//! Whether clients have used a mailbox while its name had no owner. If so, the first owner of the name begins with an
//! empty mailbox.

use std::fs::File;

use super::format::header::{Header, RECORDS};
use super::handle::Spool;
use super::lock::lock;
use super::user_files::has_owner_record;
use super::{mailbox, settle, survey};
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
    if header.used_unowned {
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
/// [`StoreError::ReadOnly`]; I/O errors.
pub(super) fn note_use(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    let Some(file) = spool.paths.mailbox(name)? else {
        return Ok(());
    };
    let path = spool.paths.mailbox_path(name);
    match set_flag(spool, name, &file)? {
        true => mailbox::sync(&file, &path),
        false => Err(StoreError::read_only(path)),
    }
}

/// Sets the flag in the header of a mailbox, if it has messages. Returns `false` if the mailbox cannot be written.
fn set_flag(spool: &Spool, name: &Name, file: &File) -> Result<bool, StoreError> {
    let path = spool.paths.mailbox_path(name);
    let read = |e| StoreError::system("read", &path)(e);
    let header = Header::read(file).map_err(read)?;
    let Some(header) = header.filter(|header| !header.used_unowned) else {
        return Ok(true);
    };
    if !file::can_be_written(file).map_err(read)? {
        return Ok(false);
    }
    let header = Header {
        used_unowned: true,
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
    let header = settle::header(spool, name)?;
    Ok(header.is_some_and(|(_, header)| header.used_unowned))
}

/// Records the use of the mailboxes of an earlier format, in which acknowledged messages show it. A mailbox that cannot
/// be written is reported in the log. No other process may use the spool.
///
/// # Errors
/// I/O errors.
pub(super) fn upgrade(spool: &Spool) -> Result<(), StoreError> {
    for name in survey::mailboxes(spool)? {
        let header = match settle::header(spool, &name) {
            Err(StoreError::Damaged { .. }) => None,
            header => header?,
        };
        let has_acked = header.is_some_and(|(_, header)| header.acked_offset > RECORDS);
        if !has_acked || has_owner_record(spool, &name)? {
            continue;
        }
        match note_use(spool, &name) {
            Err(e @ StoreError::ReadOnly(_)) => {
                log::warn!("cannot record that {name} was used: {e}")
            }
            noted => noted?,
        }
    }
    Ok(())
}
