//! The error type of the store.

use std::io;
use std::path::Path;

use crate::name::Name;

/// Why a store operation failed, by what the caller can do about it. A place is text for a person to read: a path, or
/// what an engine has instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Another process holds the lease or the lock of the mailbox. A retry helps.
    #[error("the mailbox is in use by another reader or writer")]
    Busy,
    /// The mailbox has reached its quota. A retry helps once its owner has read messages.
    #[error("the mailbox of {0} is full: {1}")]
    Quota(Name, &'static str),
    /// All open clients together have used up what this key of the configuration allows.
    #[error(
        "clients without a verified name have used up {0}: wait until messages are read and users go offline, or ask the \
         operator to remove mailboxes or to raise that limit"
    )]
    Budget(&'static str),
    /// A sync of this mailbox failed. It is read-only until an operator repairs it.
    #[error("{0} is read-only since the disk failed; see droplinectl check")]
    ReadOnly(String),
    /// The disk is full. Reading messages frees space.
    #[error(
        "the disk that holds {0} is full, or has less free than min_free_bytes and min_free_inodes require"
    )]
    DiskFull(String),
    /// A file has the largest size that it may have. Freeing its space helps: the owner of the mailbox reads messages.
    #[error(
        "{0} cannot grow: it has the largest size that its file system, or the limit of the daemon on the size of files \
         (RLIMIT_FSIZE), allows"
    )]
    FileLimit(String),
    /// Stored data fails its checks.
    #[error("{place} is damaged at byte {offset}: {what}")]
    Damaged {
        place: String,
        /// The offset in that place, in bytes.
        offset: u64,
        what: &'static str,
    },
    /// The mailbox already exists.
    #[error("{0} already exists and is left unchanged")]
    Exists(String),
    /// The sequence numbers of messages do not increase.
    #[error("message {seq} cannot come after message {last}: numbers start at 1 and must increase")]
    Order {
        seq: u64,
        /// The number of the previous message.
        last: u64,
    },
    /// The store cannot be used in its present state. A retry does not help.
    #[error("{place} cannot be used as a {engine}: {what}")]
    Unusable {
        place: String,
        /// The kind of store, such as "spool".
        engine: &'static str,
        /// The fault, and what to do.
        what: String,
    },
    /// Some accepted messages cannot be read at present.
    #[error("accepted messages are only in {place}: {why}")]
    Unavailable {
        place: String,
        /// Why they cannot be read, and what to do.
        why: &'static str,
    },
    /// A system call failed.
    #[error("cannot {action} {place}: {source}")]
    Failed {
        /// What was attempted, such as "open".
        action: &'static str,
        place: String,
        source: io::Error,
    },
}

impl StoreError {
    /// Returns a function for `map_err` that adds the attempted action and its path to a system error.
    pub(super) fn system(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let place = place(path);
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(place),
                io::ErrorKind::FileTooLarge => Self::FileLimit(place),
                _ => Self::Failed {
                    action,
                    place,
                    source,
                },
            }
        }
    }

    pub(super) fn read_only(path: impl AsRef<Path>) -> Self {
        Self::ReadOnly(place(path))
    }

    pub(super) fn disk_full(path: impl AsRef<Path>) -> Self {
        Self::DiskFull(place(path))
    }

    pub(super) fn damaged(path: impl AsRef<Path>, offset: u64, what: &'static str) -> Self {
        Self::Damaged {
            place: place(path),
            offset,
            what,
        }
    }

    pub(super) fn no_spool(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self::Unusable {
            place: place(path),
            engine: "spool",
            what: what.into(),
        }
    }

    /// Returns whether the disk itself has failed, so that neither a retry nor free space helps.
    pub(super) fn is_of_the_disk(&self) -> bool {
        match self {
            Self::ReadOnly(_) => true,
            Self::Failed { source, .. } => source.raw_os_error() == Some(libc::EIO),
            _ => false,
        }
    }
}

fn place(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

impl Clone for StoreError {
    /// Copies the error for each message of a failed group. `io::Error` has no `Clone`.
    fn clone(&self) -> Self {
        match self {
            Self::Busy => Self::Busy,
            Self::Quota(name, what) => Self::Quota(name.clone(), what),
            Self::Budget(key) => Self::Budget(key),
            Self::ReadOnly(place) => Self::ReadOnly(place.clone()),
            Self::DiskFull(place) => Self::DiskFull(place.clone()),
            Self::FileLimit(place) => Self::FileLimit(place.clone()),
            Self::Exists(place) => Self::Exists(place.clone()),
            Self::Order { seq, last } => Self::Order {
                seq: *seq,
                last: *last,
            },
            Self::Damaged {
                place,
                offset,
                what,
            } => Self::Damaged {
                place: place.clone(),
                offset: *offset,
                what,
            },
            Self::Unusable {
                place,
                engine,
                what,
            } => Self::Unusable {
                place: place.clone(),
                engine,
                what: what.clone(),
            },
            Self::Unavailable { place, why } => Self::Unavailable {
                place: place.clone(),
                why,
            },
            Self::Failed {
                action,
                place,
                source,
            } => Self::Failed {
                action,
                place: place.clone(),
                source: source
                    .raw_os_error()
                    .map_or_else(|| source.kind().into(), io::Error::from_raw_os_error),
            },
        }
    }
}
