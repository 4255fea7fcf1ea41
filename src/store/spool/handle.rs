//! The open spool, which every operation uses.

use super::budget::Budgets;
use super::cache::Cache;
use super::flags::Flags;
use super::journal::client::Journal;
use super::lock::SpoolLock;
use super::paths::Paths;
use super::room;
use crate::name::Name;
use crate::store::{Limits, StoreError};

/// An open spool. Open it once and fork: processes may share the directory handles, and open every file after the fork.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(super) paths: Paths,
    pub(super) limits: Limits,
    /// The mailboxes that this process has appended to recently.
    pub(super) cache: Cache,
    pub(super) flags: Flags,
    pub(super) budgets: Budgets,
    pub(super) journal: Journal,
    /// Whether its format is the current one: an upgrade may have failed for lack of disk space.
    pub(super) is_upgraded: bool,
    /// Called for each request that fails because the disk is full.
    pub(super) on_full: Option<OnFull>,
    /// `None` in a process that only inspects a spool, which another process may be using.
    pub(super) _lock: Option<SpoolLock>,
}

/// A callback for the error of a full disk.
pub(super) struct OnFull(pub(super) Box<dyn Fn(&StoreError) + Send + Sync>);

impl std::fmt::Debug for OnFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnFull")
    }
}

impl Spool {
    /// Returns the limits in force now: a nearly full disk keeps no history.
    pub(super) fn limits_now(&self) -> Limits {
        room::limits_now(&self.paths.mail, &self.limits)
    }

    /// Returns `result`. Reports it to `on_full` first if there is no room: [`StoreError::DiskFull`] and
    /// [`StoreError::FileLimit`].
    pub(super) fn reported<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(e @ (StoreError::DiskFull(_) | StoreError::FileLimit(_))), Some(on_full)) =
            (&result, &self.on_full)
        {
            on_full.0(e);
        }
        result
    }

    /// Makes the directory entries of the mailbox of `name` durable: its own in its folder, and that of the folder.
    ///
    /// # Errors
    /// Errors from `fsync(2)`.
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

    /// Durably removes the mailbox of `name`, which must have no messages.
    ///
    /// # Errors
    /// Errors from `unlinkat(2)` and `fsync(2)`.
    pub(super) fn remove_mailbox(&self, name: &Name) -> Result<(), StoreError> {
        let folder = self.paths.mailbox_folder(name)?;
        folder
            .remove(name.as_str())
            .and_then(|()| folder.sync())
            .map_err(StoreError::system("remove", folder.path_of(name.as_str())))
    }
}
