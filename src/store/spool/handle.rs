//! The open spool: what every operation works with.

use super::cache::Cache;
use super::flags::Flags;
use super::journal::client::Journal;
use super::lock::SpoolLock;
use super::paths::Paths;
use super::room;
use crate::name::Name;
use crate::store::{Limits, StoreError};

/// A spool that is open. Open it once and fork: the directory handles may be shared, and every file is opened after the
/// fork.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(super) paths: Paths,
    pub(super) limits: Limits,
    /// The mailboxes that this process has appended to lately.
    pub(super) cache: Cache,
    pub(super) flags: Flags,
    pub(super) journal: Journal,
    /// Told of each request that fails for want of room.
    pub(super) on_full: Option<OnFull>,
    /// `None` in a process that looks at a spool which another one may work on.
    pub(super) _lock: Option<SpoolLock>,
}

/// What is called when a disk is full.
pub(super) struct OnFull(pub(super) Box<dyn Fn(&StoreError) + Send + Sync>);

impl std::fmt::Debug for OnFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnFull")
    }
}

impl Spool {
    /// The limits that hold now: on a disk that is nearly full, no history is kept.
    pub(super) fn limits_now(&self) -> Limits {
        room::limits_now(&self.paths.mail, &self.limits)
    }

    /// Returns `result`, and reports a full disk that it tells of.
    pub(super) fn reported<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(e @ StoreError::DiskFull(_)), Some(on_full)) = (&result, &self.on_full) {
            on_full.0(e);
        }
        result
    }

    /// Waits until the name of the mailbox of `name` is on the disk: the entry in its folder, and that of the folder.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    pub(super) fn sync_name(&self, name: &Name) -> Result<(), StoreError> {
        let folder = self.paths.mailbox_folder(name)?;
        folder
            .sync()
            .map_err(StoreError::system("sync", folder.path()))?;
        self.flags.sync_folder_once(name, || {
            let mail = &self.paths.mail;
            mail.sync().map_err(StoreError::system("sync", mail.path()))
        })
    }

    /// Removes the mailbox of `name`, which has no messages.
    ///
    /// # Errors
    /// Those of `unlinkat(2)` and `fsync(2)`.
    pub(super) fn remove_mailbox(&self, name: &Name) -> Result<(), StoreError> {
        let folder = self.paths.mailbox_folder(name)?;
        folder
            .remove(name.as_str())
            .and_then(|()| folder.sync())
            .map_err(StoreError::system("remove", folder.path_of(name.as_str())))
    }
}
