//! Locks: of a mailbox, for the microseconds of an append, and of the whole spool, for the life of a daemon.

use std::io;

use super::paths::{OWNER, Paths};
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::{Claim, Locked, OwnerFile};

/// Waits for the lock of the mailbox of `name`.
///
/// On a full disk, and on one that is mounted read-only, a lock file may be missing that cannot be made: after a crash, or
/// in a copy of the spool. What is there can be read all the same.
///
/// # Errors
/// Those of `openat(2)` and `flock(2)`.
pub(super) fn lock(paths: &Paths, name: &Name) -> Result<Locked, StoreError> {
    loop {
        let file = match paths.lock_file(name) {
            Err(StoreError::DiskFull(_)) => paths.lock_directory()?,
            Err(StoreError::Failed { source, .. })
                if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
            {
                paths.lock_directory()?
            }
            file => file?,
        };
        let failed = |e| StoreError::system("lock the mailbox", paths.mailbox_path(name))(e);
        let locked = Locked::wait(file).map_err(failed)?;
        // A lock file that was removed guards nothing.
        if file::facts(locked.file()).map_err(failed)?.named {
            return Ok(locked);
        }
    }
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
