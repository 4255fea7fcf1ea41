//! The limits of a store.

/// How much a mailbox may hold, how long history is kept, and how full the disk may get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many messages may wait in one mailbox.
    pub(crate) quota_messages: u64,
    /// How many bytes of the disk the messages that wait in one mailbox may take.
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
        Self {
            quota_messages: 2_000_000,
            quota_bytes: 4 << 30,
            history_millis: 7 * 24 * 3_600 * 1_000,
            history_bytes: 16 << 20,
            min_free_bytes: 16 << 20,
            min_free_inodes: 1_000,
        }
    }
}
