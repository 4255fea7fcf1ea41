//! How much a mailbox may hold, how long history is kept, and how full the disk may get.

use super::layout::Spool;
use super::mailbox::Header;
use super::repair::Tail;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file;

/// With less free than this above the floor, a disk is nearly full.
const MARGIN: u64 = 16 << 20;

/// The limits of a spool.
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

impl Spool {
    /// The limits that hold now: on a disk that is nearly full, no history is kept, so that reading makes room.
    pub(super) fn limits_now(&self) -> Limits {
        let limits = *self.limits();
        let enough = limits.min_free_bytes.saturating_add(MARGIN);
        match file::free(self.mail()) {
            Ok(free) if free.bytes < enough => Limits {
                history_bytes: 0,
                ..limits
            },
            _ => limits,
        }
    }

    /// Refuses new messages when the disk is nearly full: acknowledging, which makes room, still needs
    /// some.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], and those of the system.
    pub(super) fn room_on_disk(&self) -> Result<(), StoreError> {
        let path = self.mail().path();
        let free =
            file::free(self.mail()).map_err(StoreError::system("ask for free space in", path))?;
        let limits = self.limits();
        let few_inodes = free
            .inodes
            .is_some_and(|free| free < limits.min_free_inodes);
        if free.bytes < limits.min_free_bytes || few_inodes {
            return Err(StoreError::DiskFull(path.to_owned()));
        }
        Ok(())
    }

    /// Whether so many bytes are free beside what must be left free.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn has_room_for(&self, bytes: u64) -> Result<bool, StoreError> {
        let path = self.mail().path();
        let free =
            file::free(self.mail()).map_err(StoreError::system("ask for free space in", path))?;
        Ok(free.bytes >= self.limits().min_free_bytes.saturating_add(bytes))
    }

    /// Whether a mailbox may have one more message, of `len` bytes on the disk.
    ///
    /// # Errors
    /// [`StoreError::Quota`].
    pub(super) fn room_in(
        &self,
        name: &Name,
        header: &Header,
        tail: Tail,
        len: u64,
    ) -> Result<(), StoreError> {
        let limits = self.limits();
        if tail.seq.saturating_sub(header.acked_seq) >= limits.quota_messages {
            return Err(StoreError::Quota(
                name.clone(),
                "too many messages wait in it",
            ));
        }
        if tail.offset.saturating_sub(header.acked_offset) + len > limits.quota_bytes {
            return Err(StoreError::Quota(
                name.clone(),
                "the messages that wait in it are too long",
            ));
        }
        Ok(())
    }
}
