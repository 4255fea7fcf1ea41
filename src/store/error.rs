//! Why a store did not do what it was asked.

use std::io;
use std::path::Path;

use crate::name::Name;

/// Why a store did not do what it was asked, by what the caller can do about it. A place is where it happened, as text for
/// a person: a path, or whatever an engine has.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Another reader has the mailbox. Try again soon.
    #[error("another reader has the mailbox")]
    Busy,
    /// The mailbox has as much as it may have. Try again when its owner has read.
    #[error("the mailbox of {0} is full: {1}")]
    Quota(Name, &'static str),
    /// The disk has failed to keep something of this mailbox; nothing more is written to it until an operator has checked
    /// it.
    #[error("{0} is read-only since the disk failed; see droplinectl check")]
    ReadOnly(String),
    /// There is no room on the disk. Reading makes room.
    #[error(
        "the disk that holds {0} is full, or has less free than min_free_bytes and min_free_inodes say"
    )]
    DiskFull(String),
    /// What is stored is not what was written.
    #[error("{place} is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where.
        place: String,
        /// How far from the beginning of that, in bytes.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// There is such a mailbox already.
    #[error("{0} exists already, and is left as it is")]
    Exists(String),
    /// The numbers of messages do not rise.
    #[error("message {seq} cannot come after message {last}: numbers begin at 1 and rise")]
    Order {
        /// The number of the message.
        seq: u64,
        /// The number of the one before.
        last: u64,
    },
    /// The store cannot be used as it is, and trying again does not help.
    #[error("{place} cannot be used as a {engine}: {what}")]
    Unusable {
        /// Where.
        place: String,
        /// What it was to be used as.
        engine: &'static str,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// Some of what was accepted cannot be had now.
    #[error("messages that were accepted are in {place} alone: {why}")]
    Unavailable {
        /// Where they are.
        place: String,
        /// Why they cannot be had, and what to do.
        why: &'static str,
    },
    /// A call of the system failed.
    #[error("cannot {action} {place}: {source}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// On what.
        place: String,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Adds to an error of the system what was tried, on what: for `map_err`.
    pub(super) fn system(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let place = place(path);
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(place),
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

    /// Whether the disk itself fails, so that neither waiting nor making room helps.
    pub(super) fn is_of_the_disk(&self) -> bool {
        match self {
            Self::ReadOnly(_) => true,
            Self::Failed { source, .. } => source.raw_os_error() == Some(libc::EIO),
            _ => false,
        }
    }
}

/// A path as a place.
fn place(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

impl Clone for StoreError {
    /// For messages that fail together.
    fn clone(&self) -> Self {
        match self {
            Self::Busy => Self::Busy,
            Self::Quota(name, what) => Self::Quota(name.clone(), what),
            Self::ReadOnly(place) => Self::ReadOnly(place.clone()),
            Self::DiskFull(place) => Self::DiskFull(place.clone()),
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
