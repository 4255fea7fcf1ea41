//! Locks: of a mailbox, for the microseconds of an append, and of the whole spool, for the life of a daemon.

use super::paths::{OWNER, Paths};
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::dir::Dir;
use crate::sys::lock::{Claim, Locked, OwnerFile};

/// Waits for the lock of the mailbox of `name`.
///
/// # Errors
/// Those of `openat(2)` and `flock(2)`.
pub(super) fn lock(paths: &Paths, name: &Name) -> Result<Locked, StoreError> {
    let file = paths.lock_file(name)?;
    Locked::wait(file)
        .map_err(|e| StoreError::system("lock the mailbox", paths.mailbox_path(name))(e))
}

/// The right to work on a spool, for one daemon at a time. It ends with the process.
#[derive(Debug)]
pub(super) struct SpoolLock {
    _owner: OwnerFile,
}

impl SpoolLock {
    /// Locks the directory `root` itself, which an operator does not remove by mistake. The file `owner` in it says which
    /// process has the lock.
    ///
    /// # Errors
    /// When another process has it; those of the system.
    pub(super) fn take(root: &Dir) -> Result<Self, StoreError> {
        let claim = OwnerFile::claim_dir(root, OWNER);
        match claim.map_err(StoreError::system("lock", root.path_of(OWNER)))? {
            Claim::Ours(owner) => Ok(Self { _owner: owner }),
            Claim::Theirs(pid) => Err(StoreError::no_spool(
                root.path(),
                format!("process {pid} works on it already"),
            )),
        }
    }
}
