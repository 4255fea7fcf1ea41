//! Locks: of a mailbox, held for the microseconds of an append, and of the spool, held for the life of a daemon.

use std::io;
use std::time::Duration;

use super::paths::{LOCK_TIMEOUT, OWNER, Paths};
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::{Claim, Locked, OwnerFile};

/// How long maintenance waits, which no client waits for.
pub(super) const CARE_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for the lock of the mailbox of `name`, up to [`LOCK_TIMEOUT`].
///
/// # Errors
/// [`StoreError::Busy`] if another process keeps it; errors from `openat(2)` and `flock(2)`.
pub(super) fn lock(paths: &Paths, name: &Name) -> Result<Locked, StoreError> {
    lock_within(paths, name, LOCK_TIMEOUT)
}

/// Waits for the lock of the mailbox of `name`, up to `limit`.
///
/// The lock file may be missing after a crash or in a copy of the spool. If the disk is full or mounted read-only, it
/// cannot be created: the directory of the lock files is locked instead, so that the mailbox can still be read.
///
/// # Errors
/// [`StoreError::Busy`] if another process keeps it; errors from `openat(2)` and `flock(2)`.
pub(super) fn lock_within(
    paths: &Paths,
    name: &Name,
    limit: Duration,
) -> Result<Locked, StoreError> {
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
        let locked = Locked::within(file, limit).map_err(failed)?;
        let locked = locked.map_err(|_| StoreError::Busy)?;
        // A lock file that was removed while this process waited guards nothing: try the new one.
        if file::facts(locked.file()).map_err(failed)?.named {
            return Ok(locked);
        }
    }
}

/// The exclusive right to use a spool. It ends with the process.
#[derive(Debug)]
pub(super) struct SpoolLock {
    _owner: OwnerFile,
}

impl SpoolLock {
    /// Locks the directory `root` itself, which operators do not remove by mistake. Writes the pid to its file `owner`.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if another process has the lock; I/O errors.
    pub(super) fn take(root: &Dir) -> Result<Self, StoreError> {
        let claim = OwnerFile::claim_dir(root, OWNER);
        match claim.map_err(StoreError::system("lock", root.path_of(OWNER)))? {
            Claim::Ours(owner) => Ok(Self { _owner: owner }),
            Claim::Theirs(pid) => Err(StoreError::no_spool(
                root.path(),
                format!("process {pid} is using it"),
            )),
        }
    }
}
