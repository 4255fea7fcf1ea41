//! The limits that the store keeps.

use super::keys::{Config, ConfigFile};

/// The limits of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many messages can wait in one mailbox.
    pub(crate) quota_messages: u64,
    /// How many bytes of the disk the messages that wait in one mailbox can take.
    pub(crate) quota_bytes: u64,
    /// For how many milliseconds acknowledged messages are kept.
    pub(crate) history_millis: u64,
    /// How many bytes of acknowledged messages are kept in one mailbox.
    pub(crate) history_bytes: u64,
    /// How many bytes of the disk are left free.
    pub(crate) min_free_bytes: u64,
    /// How many inodes of the disk are left free.
    pub(crate) min_free_inodes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        ConfigFile::default().settings().limits()
    }
}

impl Config {
    /// What the store is told.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            quota_messages: self.quota_messages,
            quota_bytes: self.quota_bytes,
            history_millis: self.history_days * 24 * 3_600_000,
            history_bytes: self.history_bytes,
            min_free_bytes: self.min_free_bytes,
            min_free_inodes: self.min_free_inodes,
        }
    }
}
