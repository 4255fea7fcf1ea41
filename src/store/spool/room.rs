//! Checks for room on the disk and in a mailbox.

use super::format::end::Tail;
use super::format::header::Header;
use crate::name::Name;
use crate::store::{Limits, StoreError};
use crate::sys::dir::Dir;
use crate::sys::file;

/// A disk with less than this free above `min_free_bytes` is nearly full, in bytes.
const MARGIN: u64 = 16 << 20;

/// Returns the limits in force in the file system of `dir`. A nearly full disk keeps no history: reading frees space.
pub(super) fn limits_now(dir: &Dir, limits: &Limits) -> Limits {
    let enough = limits.min_free_bytes.saturating_add(MARGIN);
    match file::free(dir) {
        Ok(free) if free.bytes < enough => Limits {
            history_bytes: 0,
            ..*limits
        },
        _ => *limits,
    }
}

/// Checks that the disk of `dir` has room for messages beyond the reserve that acknowledgements need to free space.
///
/// # Errors
/// [`StoreError::DiskFull`]; I/O errors.
pub(super) fn on_disk(dir: &Dir, limits: &Limits) -> Result<(), StoreError> {
    let free = free(dir)?;
    let few_inodes = free
        .inodes
        .is_some_and(|free| free < limits.min_free_inodes);
    if free.bytes < limits.min_free_bytes || few_inodes {
        return Err(StoreError::disk_full(dir.path()));
    }
    Ok(())
}

/// Checks that the disk of `dir` has `bytes` free in addition to `min_free_bytes`.
///
/// # Errors
/// [`StoreError::DiskFull`]; I/O errors.
pub(super) fn must_have(dir: &Dir, limits: &Limits, bytes: u64) -> Result<(), StoreError> {
    match for_bytes(dir, limits, bytes)? {
        true => Ok(()),
        false => Err(StoreError::disk_full(dir.path())),
    }
}

/// Returns whether the disk of `dir` has `bytes` free in addition to `min_free_bytes`.
pub(super) fn for_bytes(dir: &Dir, limits: &Limits, bytes: u64) -> Result<bool, StoreError> {
    Ok(free(dir)?.bytes >= limits.min_free_bytes.saturating_add(bytes))
}

fn free(dir: &Dir) -> Result<file::Free, StoreError> {
    file::free(dir).map_err(StoreError::system("ask for free space in", dir.path()))
}

/// Checks that the quota of the mailbox of `name` has room for one more record of `len` bytes at `tail`.
///
/// # Errors
/// [`StoreError::Quota`].
pub(super) fn in_mailbox(
    limits: &Limits,
    name: &Name,
    header: &Header,
    tail: Tail,
    len: u64,
) -> Result<(), StoreError> {
    let full = |why| Err(StoreError::Quota(name.clone(), why));
    if tail.seq.saturating_sub(header.acked_seq) >= limits.quota_messages {
        return full("it has too many unread messages");
    }
    if tail.offset.saturating_sub(header.acked_offset) + len > limits.quota_bytes {
        return full("its unread messages take too much space");
    }
    Ok(())
}
