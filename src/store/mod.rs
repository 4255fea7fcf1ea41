//! Where messages are kept: the interface, which another engine than the spool could stand behind.
//!
//! What every engine promises:
//! 1. what [`Mail::deliver`] returns for is on the disk;
//! 2. a message leaves the queue by [`Waiting::acknowledge`] and in no other way, and one that is
//!    handed out again has the same number and id;
//! 3. a mailbox is one sequence, in the order of its numbers; none is given twice, none is shown
//!    before its message is on the disk;
//! 4. a message is handed out whole or not at all.
#![forbid(unsafe_code)]

pub(crate) mod spool;

use std::io;
use std::path::{Path, PathBuf};

use crate::message::{Draft, Stored};
use crate::name::Name;

/// What became of a message that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Its number in the mailbox.
    pub(crate) seq: u64,
}

/// Mailboxes: one for each name, made by the first message to it.
pub(crate) trait Mail {
    /// Appends a message to the mailbox of `to`. When this returns, it is on the disk.
    ///
    /// # Errors
    /// Then it is not accepted. It may be in the mailbox all the same when the disk failed.
    fn deliver(&self, to: &Name, draft: &Draft<'_>) -> Result<Receipt, StoreError>;

    /// Leases the mailbox of `of` to the caller and hands out what waits in it; `None` when there is no
    /// such mailbox.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody else has the lease.
    fn fetch(&self, of: &Name) -> Result<Option<Box<dyn Waiting + '_>>, StoreError>;
}

/// The messages that waited in a mailbox when it was leased. The lease ends when this is dropped.
pub(crate) trait Waiting {
    /// The next one, in order.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn next(&mut self) -> Result<Option<Stored<'_>>, StoreError>;

    /// Takes all messages up to and including number `seq` out of the queue, for good. They must have
    /// been handed out.
    ///
    /// # Errors
    /// Then they may be handed out again.
    fn acknowledge(&mut self, seq: u64) -> Result<(), StoreError>;
}

/// Looking at mailboxes, for an operator. Changes nothing, and disturbs nobody.
pub(crate) trait Survey {
    /// The names of all mailboxes, sorted.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn mailboxes(&self) -> Result<Vec<Name>, StoreError>;

    /// What waits in the mailbox of `of`; `None` when there is no such mailbox.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    fn queue(&self, of: &Name) -> Result<Option<Queue>, StoreError>;
}

/// What waits in a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    /// How many messages.
    pub(crate) waiting: u64,
    /// How many bytes they take on the disk.
    pub(crate) bytes: u64,
    /// When the first of them was accepted, in milliseconds since 1970.
    pub(crate) oldest: Option<u64>,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Another reader has the mailbox.
    #[error("another reader has the mailbox")]
    Busy,
    /// There is no room on the disk.
    #[error("no space left on the disk that holds {0}")]
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
    /// A directory is not a spool that this program can use.
    #[error("{path} cannot be used as a spool: {what}")]
    Spool {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
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
    fn system(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
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
