//! The limits and the reserved names that the programs pass to the store.

use super::keys::{Config, ConfigFile};
use crate::name::Name;

/// The limits of a spool. The unit of a field is that of the key with the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) quota_messages: u64,
    pub(crate) quota_bytes: u64,
    /// How long acknowledged messages are kept.
    pub(crate) history_millis: u64,
    pub(crate) history_bytes: u64,
    pub(crate) min_free_bytes: u64,
    pub(crate) min_free_inodes: u64,
    pub(crate) open_mailboxes: u64,
    pub(crate) open_bytes: u64,
    pub(crate) open_names: u64,
    pub(crate) open_leases: u64,
}

impl Default for Limits {
    fn default() -> Self {
        ConfigFile::default().settings().limits()
    }
}

impl Config {
    /// Returns whether `name` belongs to the login of that name, if there is one, and not to TCP clients.
    pub(crate) fn reserves(&self, name: &Name) -> bool {
        self.reserve_logins && !self.open_logins.contains(name)
    }

    /// Returns the limits for the store.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            quota_messages: self.quota_messages,
            quota_bytes: self.quota_bytes,
            history_millis: self.history_days * 24 * 3_600_000,
            history_bytes: self.history_bytes,
            min_free_bytes: self.min_free_bytes,
            min_free_inodes: self.min_free_inodes,
            open_mailboxes: self.open_mailboxes,
            open_bytes: self.open_bytes,
            open_names: self.open_names,
            open_leases: self.open_leases,
        }
    }
}
