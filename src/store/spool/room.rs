//! Whether there is room: on the disk, and in a mailbox.

use super::format::end::Tail;
use super::format::header::Header;
use crate::name::Name;
use crate::store::{Limits, StoreError};
use crate::sys::dir::Dir;
use crate::sys::file;

/// With less free than this above the floor, a disk is nearly full.
const MARGIN: u64 = 16 << 20;

/// The limits that hold now in the file system of `dir`: on a disk that is nearly full, no history is kept, so that
/// reading makes room.
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

/// Refuses new messages while the disk of `dir` is nearly full: acknowledging, which makes room, still needs some.
///
/// # Errors
/// [`StoreError::DiskFull`], and those of the system.
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

/// Whether the disk of `dir` has `bytes` free beside what must stay free.
///
/// # Errors
/// Those of the system.
pub(super) fn for_bytes(dir: &Dir, limits: &Limits, bytes: u64) -> Result<bool, StoreError> {
    Ok(free(dir)?.bytes >= limits.min_free_bytes.saturating_add(bytes))
}

fn free(dir: &Dir) -> Result<file::Free, StoreError> {
    file::free(dir).map_err(StoreError::system("ask for free space in", dir.path()))
}

/// Whether the mailbox of `name` may have one more message behind `tail`, of `len` bytes on the disk.
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
        return full("too many messages wait in it");
    }
    if tail.offset.saturating_sub(header.acked_offset) + len > limits.quota_bytes {
        return full("the messages that wait in it are too long");
    }
    Ok(())
}
