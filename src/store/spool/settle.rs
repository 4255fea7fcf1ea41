//! Completes or undoes interrupted changes of `released/`: copies of a mailbox that was not emptied, and restores
//! (restore.rs).

use std::fs::File;

use super::format::header::Header;
use super::handle::Spool;
use super::lock::{CARE_TIMEOUT, lock_within};
use super::mailbox::sync;
use super::released::Released;
use super::repair;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file;

/// Completes or undoes a restore of the messages of `name` that was interrupted, and removes the copy of a mailbox that
/// was made and not yet emptied. The lock of the mailbox must be held. Returns the set-aside files of the name.
///
/// # Errors
/// I/O errors.
pub(super) fn settle(spool: &Spool, name: &Name) -> Result<Option<Released>, StoreError> {
    let present = header(spool, name)?.map(|(_, header)| header);
    let is_restored = present.is_some_and(|present| present.restored);
    if is_restored {
        // The interrupted process may not have made its mailbox durable.
        spool.sync_name(name)?;
    }
    let mut released = Released::list(spool, Some(name))?;
    if let Some(released) = &mut released {
        if let Some(present) = present {
            released.remove_copies(present.epoch)?;
        }
        released.end_restores(is_restored)?;
    }
    clear_flag(spool, name)?;
    Ok(released)
}

/// Settles all names that have an interrupted restore. Those that cannot be settled are reported in the log.
///
/// # Errors
/// Errors of the listing.
pub(super) fn settle_all(spool: &Spool) -> Result<(), StoreError> {
    for released in Released::list(spool, None)?.iter() {
        for file in &released.restoring {
            let _lock = lock_within(&spool.paths, &file.name, CARE_TIMEOUT)?;
            if let Err(e) = settle(spool, &file.name) {
                log::error!("cannot complete the restore of {}: {e}", file.name);
            }
        }
    }
    Ok(())
}

/// Opens the mailbox of `name` and reads its header; `None` if it does not exist or has no messages.
pub(super) fn header(spool: &Spool, name: &Name) -> Result<Option<(File, Header)>, StoreError> {
    let path = spool.paths.mailbox_path(name);
    let Some(file) = spool.paths.mailbox(name)? else {
        return Ok(None);
    };
    let facts = file::facts(&file).map_err(StoreError::system("look at", &path))?;
    let header = repair::header(&file, &path, facts.len)?;
    Ok(header.map(|header| (file, header)))
}

/// Durably clears the flag `restored` in the mailbox of `name`.
fn clear_flag(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    let Some((file, header)) = header(spool, name)?.filter(|(_, header)| header.restored) else {
        return Ok(());
    };
    let path = spool.paths.mailbox_path(name);
    if !file::can_be_written(&file).map_err(StoreError::system("look at", &path))? {
        return Err(StoreError::read_only(path));
    }
    let header = Header {
        restored: false,
        ..header
    };
    header
        .write_next(&file)
        .map_err(StoreError::system("write", &path))?;
    sync(&file, &path)
}
