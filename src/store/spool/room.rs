//! Checks for room on the disk and in a mailbox.

use super::budget::{Budgets, Load};
use super::format::end::Tail;
use super::format::header::Header;
use crate::name::Name;
use crate::store::{Limits, Rank, StoreError};
use crate::sys::dir::Dir;
use crate::sys::file;

/// A disk with less than this free above `min_free_bytes` is nearly full, in bytes.
const MARGIN: u64 = 16 << 20;
/// A larger disk counts as one with this many bytes for what clients must leave to those of higher rank.
const MOST_BYTES: u64 = 10 << 30;

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

/// Checks that the disk of `dir` has room for messages of clients of this rank, beyond the reserve that acknowledgements
/// need to free space, and what is left to clients of higher rank.
///
/// # Errors
/// [`StoreError::DiskFull`]; I/O errors.
pub(super) fn on_disk(dir: &Dir, limits: &Limits, rank: Rank) -> Result<(), StoreError> {
    let free = free(dir)?;
    let few_inodes = free
        .inodes
        .is_some_and(|free| free < limits.min_free_inodes);
    let for_others = rank.left_of(free.all_bytes.min(MOST_BYTES));
    if free.bytes < limits.min_free_bytes.saturating_add(for_others) || few_inodes {
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

/// What is added to a mailbox: a number of messages and their size in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addition {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

/// Checks that the quota of the mailbox of `name` has room for `more` at `tail`, and that the client of this process may
/// use it. Returns how full the mailbox is then, and by how much that is more than before.
///
/// # Errors
/// [`StoreError::Quota`].
pub(super) fn in_mailbox(
    limits: &Limits,
    budgets: &Budgets,
    name: &Name,
    header: &Header,
    tail: Tail,
    more: Addition,
) -> Result<(Load, Load), StoreError> {
    let full = |why| Err(StoreError::Quota(name.clone(), why));
    let rank = budgets.rank();
    let count = tail.seq.saturating_sub(header.acked_seq) + more.count;
    let bytes = tail.offset.saturating_sub(header.acked_offset) + more.bytes;
    if count > rank.share_of(limits.quota_messages) {
        return full("it has too many unread messages");
    }
    if bytes > rank.share_of(limits.quota_bytes) {
        return full("its unread messages take too much space");
    }
    let after = Load::new(limits, count, bytes);
    let added = Load::new(limits, more.count, more.bytes);
    budgets.within_share(name, header, after)?;
    Ok((after, added))
}
