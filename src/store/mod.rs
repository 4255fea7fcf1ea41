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
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::message::{Draft, Stored};
use crate::name::Name;

/// A message on its way into a mailbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    /// Whose mailbox.
    pub(crate) to: &'a Name,
    /// The message.
    pub(crate) draft: Draft<'a>,
}

/// What became of a message that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Its number in the mailbox.
    pub(crate) seq: u64,
    /// Whether it was there already.
    pub(crate) duplicate: bool,
}

/// Mailboxes: one for each name, made by the first message to it.
pub(crate) trait Mail {
    /// Appends messages to mailboxes, in the order given. When this returns, those that it has a receipt
    /// for are on the disk. Messages that are delivered together share the wait for the disk.
    ///
    /// # Errors
    /// A message without a receipt is not accepted. It may be in its mailbox all the same when the disk
    /// failed.
    fn deliver(&self, batch: &[Delivery<'_>]) -> Vec<Result<Receipt, StoreError>>;

    /// As [`deliver`](Self::deliver), for one message.
    ///
    /// # Errors
    /// Then it is not accepted.
    fn deliver_one(&self, delivery: Delivery<'_>) -> Result<Receipt, StoreError> {
        let mut outcomes = self.deliver(&[delivery]);
        // One message has one outcome.
        outcomes.pop().unwrap_or(Err(StoreError::Busy))
    }

    /// Leases the mailbox of `of` to the caller and hands out what waits in it; `None` when there is no
    /// such mailbox.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody else has the lease.
    fn fetch(&self, of: &Name) -> Result<Option<Box<dyn Waiting + '_>>, StoreError>;

    /// Shows what waits in the mailbox of `of` without a lease: nobody is kept from it, and none of it can be
    /// acknowledged. `None` when there is no such mailbox.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn peek(&self, of: &Name) -> Result<Option<Box<dyn Reading + '_>>, StoreError>;

    /// Shows messages of the mailbox of `of` that were acknowledged and are still kept, with numbers lower
    /// than `before`, newest first, until `each` returns `false`.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn history(
        &self,
        of: &Name,
        before: Option<u64>,
        each: &mut dyn FnMut(&Stored<'_>) -> bool,
    ) -> Result<(), StoreError>;

    /// What is known of message `seq` in the mailbox of `of`; `None` when nothing is (any more).
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn trace(&self, of: &Name, seq: u64) -> Result<Option<Trace>, StoreError>;

    /// A bell that rings when a message has come into the mailbox of `of`, from now on. One at a time.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody else has it.
    fn bell(&self, of: &Name) -> Result<Box<dyn Bell + '_>, StoreError>;
}

/// The messages that waited in a mailbox when it was opened.
pub(crate) trait Reading {
    /// The next one, in order.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn next(&mut self) -> Result<Option<Stored<'_>>, StoreError>;

    /// How many messages wait, told from their numbers: those that have expired, or were lost to damage, are
    /// counted as well.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn waiting(&self) -> Result<u64, StoreError>;
}

/// The same, leased. The lease ends when this is dropped.
pub(crate) trait Waiting: Reading {
    /// Takes all messages up to and including number `seq` out of the queue, for good. They must have
    /// been handed out.
    ///
    /// # Errors
    /// Then they may be handed out again.
    fn acknowledge(&mut self, seq: u64) -> Result<(), StoreError>;

    /// Goes on with the messages that have come since, behind those that were handed out.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn refresh(&mut self) -> Result<(), StoreError>;
}

/// Tells of new messages, to somebody who waits in poll(2).
pub(crate) trait Bell {
    /// Readable once it has rung.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Makes it silent. To be done before one looks for messages.
    fn silence(&self);
}

/// What is known of a message that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Who sent it.
    pub(crate) from: Name,
    /// When it was accepted, in milliseconds since 1970.
    pub(crate) at: u64,
    /// When it is of no use any more, in milliseconds since 1970.
    pub(crate) expires: Option<u64>,
    /// Whether it waits.
    pub(crate) state: State,
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

    /// Shows all messages of the mailbox of `of` that are still there, in order, until `each` returns
    /// `false`. Returns the number up to which they are acknowledged; `None` when there is no mailbox.
    ///
    /// # Errors
    /// When it is damaged as a whole or cannot be read.
    fn messages(
        &self,
        of: &Name,
        each: &mut dyn FnMut(&Stored<'_>, State) -> bool,
    ) -> Result<Option<u64>, StoreError>;

    /// Reads every byte of the mailbox of `of`; what is wrong with it.
    ///
    /// # Errors
    /// When it cannot be read.
    fn check(&self, of: &Name) -> Result<Vec<Finding>, StoreError>;

    /// What is wrong with the store as a whole, its mailboxes not looked into.
    ///
    /// # Errors
    /// When it cannot be read.
    fn check_layout(&self) -> Result<Vec<Finding>, StoreError>;
}

/// The directory of users: names that somebody has registered.
pub(crate) trait Users {
    /// Registers a name, at this time in milliseconds since 1970; `false` when it was registered already.
    /// When this returns, it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    fn register(&self, name: &Name, at: u64) -> Result<bool, StoreError>;

    /// Since when a name is registered; `None` when it is not.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    fn registered(&self, name: &Name) -> Result<Option<u64>, StoreError>;

    /// Forgets a name; `false` when it was not registered. Its mailbox stays what it is.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn deregister(&self, name: &Name) -> Result<bool, StoreError>;

    /// Notes, durably, that a name belongs to the login of this machine that has it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn claim(&self, name: &Name, at: u64) -> Result<(), StoreError>;

    /// Whether a name belongs to a login of this machine.
    ///
    /// # Errors
    /// When that cannot be read.
    fn claimed(&self, name: &Name) -> Result<bool, StoreError>;

    /// All names that belong to logins, sorted, and since when.
    ///
    /// # Errors
    /// When they cannot be read.
    fn claims(&self) -> Result<Vec<(Name, u64)>, StoreError>;

    /// Ends that; `false` when it was not so.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn release(&self, name: &Name) -> Result<bool, StoreError>;

    /// All registered names, sorted.
    ///
    /// # Errors
    /// When they cannot be read.
    fn names(&self) -> Result<Vec<Name>, StoreError>;

    /// All registered names, sorted, and since when they are.
    ///
    /// # Errors
    /// When they cannot be read, or a record is damaged.
    fn users(&self) -> Result<Vec<User>, StoreError>;
}

/// Who is online, and where: leases that end by themselves, and with a reboot.
pub(crate) trait Presence {
    /// Takes the lease of `name`, unless somebody has it whom `may_replace` does not let go; whether it was
    /// taken. It is written whole before this returns, and not waited for: no disk needs to keep it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn take(
        &self,
        name: &Name,
        lease: &Lease,
        may_replace: &dyn Fn(&Lease) -> bool,
    ) -> Result<bool, StoreError>;

    /// The lease of `name`, if it has not ended.
    ///
    /// # Errors
    /// When it cannot be read.
    fn lease(&self, name: &Name) -> Result<Option<Lease>, StoreError>;

    /// Ends the lease of `name` if `whose` agrees; whether there was one that it agreed to.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn give_back(&self, name: &Name, whose: &dyn Fn(&Lease) -> bool) -> Result<bool, StoreError>;

    /// Those who have a lease, where they are known, sorted.
    ///
    /// # Errors
    /// When they cannot be read.
    fn online(&self) -> Result<Vec<(Name, Lease)>, StoreError>;
}

/// That somebody is online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Where instant messages go; `None` while somebody has reserved the name and not said that yet.
    pub(crate) address: Option<SocketAddr>,
    /// What is understood there.
    pub(crate) speaks: Speaks,
    /// From where the lease was taken.
    pub(crate) by: IpAddr,
    /// A random number, so that its taker knows it again.
    pub(crate) token: u64,
    /// Since when, in milliseconds since 1970.
    pub(crate) since: u64,
    /// When it ends, in milliseconds since this machine was started ([`boot_millis`]).
    ///
    /// [`boot_millis`]: crate::sys::clock::boot_millis
    pub(crate) until: u64,
}

/// Which instant messages a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// The old text form.
    Text,
    /// Our datagrams, which are acknowledged.
    Datagram,
}

/// Everything that a client can ask for.
pub(crate) trait Store: Mail + Users + Presence {}

impl<T: Mail + Users + Presence> Store for T {}

/// A registered name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The name.
    pub(crate) name: Name,
    /// Since when, in milliseconds since 1970.
    pub(crate) registered: u64,
}

/// Looking after mailboxes, for an operator.
pub(crate) trait Care: Survey {
    /// Takes messages that have expired from the head of the queue of `of`, and forgets what is older or
    /// more than is kept; how many expired.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody reads the mailbox, and those of the system.
    fn expire(&self, of: &Name) -> Result<u64, StoreError>;

    /// Removes what unfinished work has left. Nobody else may work on the store.
    ///
    /// # Errors
    /// Those of the system.
    fn tidy(&self) -> Result<(), StoreError>;

    /// Writes the mailbox of `of` anew with all that is valid in it; the rest goes to quarantine. Nobody else
    /// may work on the store.
    ///
    /// # Errors
    /// Those of the system; then it is as it was.
    fn repair(&self, of: &Name) -> Result<(), StoreError>;

    /// Begins the mailbox of `of`, which must not exist, anew; its messages up to number `acked` are
    /// acknowledged. Nobody else may work on the store.
    ///
    /// # Errors
    /// When there is such a mailbox, and those of the system.
    fn restore(&self, of: &Name, acked: u64) -> Result<Box<dyn Restoring + '_>, StoreError>;
}

/// A mailbox that is being restored. Nothing of it is seen until it is finished.
pub(crate) trait Restoring {
    /// Adds a message. Their numbers must rise.
    ///
    /// # Errors
    /// When they do not, and those of the system.
    fn push(&mut self, message: &Stored<'_>) -> Result<(), StoreError>;

    /// Puts the mailbox in its place, on the disk.
    ///
    /// # Errors
    /// Those of the system.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// Whether a message waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It does.
    Waiting,
    /// It was acknowledged, and is history.
    Read,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// In which file.
    pub(crate) path: PathBuf,
    /// At which byte of it.
    pub(crate) offset: u64,
    /// What.
    pub(crate) what: String,
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
