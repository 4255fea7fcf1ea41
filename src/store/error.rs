//! Why the store did not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use crate::name::Name;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Another reader has the mailbox.
    #[error("another reader has the mailbox")]
    Busy,
    /// The mailbox has as much as it may have.
    #[error("the mailbox of {0} is full: {1}")]
    Quota(Name, &'static str),
    /// The disk has failed to keep something of this mailbox; nothing more is written to it.
    #[error("{0} is read-only since the disk failed; see droplinectl check")]
    ReadOnly(PathBuf),
    /// There is no room on the disk.
    #[error(
        "the disk that holds {0} is full, or has less free than min_free_bytes and min_free_inodes say"
    )]
    DiskFull(PathBuf),
    /// What is on the disk is not what was written there.
    #[error("{path} is damaged at byte {offset}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// There is such a mailbox already.
    #[error("{0} exists already, and is left as it is")]
    Exists(PathBuf),
    /// The numbers of messages do not rise.
    #[error("message {seq} cannot come after message {last}: numbers begin at 1 and rise")]
    Order {
        /// The number of the message.
        seq: u64,
        /// The number of the one before.
        last: u64,
    },
    /// A directory is not a spool that this program can use.
    #[error("{path} cannot be used as a spool: {what}")]
    Spool {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// What a daemon that was killed has left in the journal cannot be put into the mailboxes now.
    #[error("messages that were accepted are in the journal {path} alone: {why}")]
    InJournal {
        /// The journal.
        path: PathBuf,
        /// Why they stay there, and what to do.
        why: &'static str,
    },
    /// A system call failed.
    #[error("cannot {action} {path}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl StoreError {
    /// Turns what the kernel said into a sentence: for `map_err`.
    pub(super) fn system(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.as_ref().to_owned();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(path),
                _ => Self::System {
                    action,
                    path,
                    source,
                },
            }
        }
    }
}

impl Clone for StoreError {
    /// For messages that share their fate.
    fn clone(&self) -> Self {
        match self {
            Self::Busy => Self::Busy,
            Self::Quota(name, what) => Self::Quota(name.clone(), what),
            Self::ReadOnly(path) => Self::ReadOnly(path.clone()),
            Self::DiskFull(path) => Self::DiskFull(path.clone()),
            Self::Exists(path) => Self::Exists(path.clone()),
            Self::Order { seq, last } => Self::Order {
                seq: *seq,
                last: *last,
            },
            Self::Damaged { path, offset, what } => Self::Damaged {
                path: path.clone(),
                offset: *offset,
                what,
            },
            Self::Spool { path, what } => Self::Spool {
                path: path.clone(),
                what: what.clone(),
            },
            Self::InJournal { path, why } => Self::InJournal {
                path: path.clone(),
                why,
            },
            Self::System {
                action,
                path,
                source,
            } => Self::System {
                action,
                path: path.clone(),
                source: source
                    .raw_os_error()
                    .map_or_else(|| source.kind().into(), io::Error::from_raw_os_error),
            },
        }
    }
}
