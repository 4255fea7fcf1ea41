//! Message storage: the interface that an engine implements, and the functions that open a store.
//!
//! Every engine keeps these promises (`tests/store_contract/` checks each of them):
//! 1. A message with a receipt from [`Mail::deliver`] is durable.
//! 2. A message stays in the queue until [`Waiting::acknowledge`] or its expiry. A redelivered message has
//!    the same sequence number and id.
//! 3. A mailbox is one sequence, ordered by sequence number. No number is reused, and none is visible
//!    before its message is durable.
//! 4. A reader gets a whole message or none.
#![forbid(unsafe_code)]

mod client;
mod error;
mod operator;
mod presence;
mod spool;
mod users;

#[cfg(test)]
#[path = "../../tests/store_contract/mod.rs"]
mod contract;

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;

pub(crate) use self::client::{Client, OpenUsage, Rank};
pub(crate) use self::error::StoreError;
pub(crate) use self::operator::{
    Care, Finding, FormerOwner, MailboxState, Queue, RestoreTo, Restored, Restoring, SetAside,
    State, Survey,
};
pub(crate) use self::presence::{Lease, Presence};
pub(crate) use self::users::{Owner, OwnerRecord, Users};
pub(crate) use crate::config::Limits;

use crate::message::{Draft, Stored, Trust};
use crate::name::Name;
use crate::sys::heap;
use crate::sys::submission_queue::SubmissionQueue;

/// A message to deliver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    /// The recipient, whose mailbox gets the message.
    pub(crate) to: &'a Name,
    pub(crate) draft: Draft<'a>,
}

/// The result of a successful delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// The sequence number of the message in the mailbox.
    pub(crate) seq: u64,
    /// Whether the mailbox already had the message.
    pub(crate) duplicate: bool,
}

/// Mailboxes, one for each name. The first message to a name creates its mailbox.
pub(crate) trait Mail {
    /// Appends messages to mailboxes in the given order. Messages with a receipt are durable when this
    /// returns. Messages that are delivered together share the wait for the disk.
    ///
    /// # Errors
    /// A message without a receipt is not accepted, but may be in its mailbox after a disk error.
    fn deliver(&self, batch: &[Delivery<'_>]) -> Vec<Result<Receipt, StoreError>>;

    /// Delivers one message, as [`deliver`](Self::deliver).
    ///
    /// # Errors
    /// The message is not accepted.
    fn deliver_one(&self, delivery: Delivery<'_>) -> Result<Receipt, StoreError> {
        let mut outcomes = self.deliver(&[delivery]);
        // One message has one outcome.
        outcomes.pop().unwrap_or(Err(StoreError::Busy))
    }

    /// Leases the mailbox of `of` to the caller and returns a reader of its queue; `None` when there is
    /// no such mailbox.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another reader holds the lease.
    fn fetch(&self, of: &Name) -> Result<Option<Box<dyn Waiting + '_>>, StoreError>;

    /// Returns a reader of the queue of `of` that takes no lease, blocks no other reader and cannot
    /// acknowledge; `None` when there is no such mailbox.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn peek(&self, of: &Name) -> Result<Option<Box<dyn Reading + '_>>, StoreError>;

    /// Calls `each` with the acknowledged messages that the mailbox of `of` still keeps and whose numbers
    /// are below `before`, newest first, until `each` returns `false`.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn history(
        &self,
        of: &Name,
        before: Option<u64>,
        each: &mut dyn FnMut(&Stored<'_>) -> bool,
    ) -> Result<(), StoreError>;

    /// Returns the trace of message `seq` in the mailbox of `of`; `None` when the mailbox does not have the message, or
    /// no longer has it.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn trace(&self, of: &Name, seq: u64) -> Result<Option<Trace>, StoreError>;

    /// Opens the bell of the mailbox of `of`. It rings for each message that arrives from now on.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process has this bell open.
    fn bell(&self, of: &Name) -> Result<Box<dyn Bell + '_>, StoreError>;
}

/// A reader of the messages that waited in a mailbox when the reader was opened.
pub(crate) trait Reading {
    /// Returns the next message in order.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn next(&mut self) -> Result<Option<Stored<'_>>, StoreError>;

    /// Returns the number of waiting messages. If they take more than 1 MiB, it is computed from sequence
    /// numbers, and includes messages that have expired or are damaged.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn waiting(&self) -> Result<u64, StoreError>;
}

/// A reader that holds the lease of the mailbox until it is dropped.
pub(crate) trait Waiting: Reading {
    /// Removes all messages up to and including number `seq` from the queue, durably. The reader must have
    /// returned them before.
    ///
    /// # Errors
    /// The messages may be delivered again.
    fn acknowledge(&mut self, seq: u64) -> Result<(), StoreError>;

    /// Appends the messages that have arrived since the reader was opened or last refreshed.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn refresh(&mut self) -> Result<(), StoreError>;
}

/// A notification of new messages that works with poll(2).
pub(crate) trait Bell {
    /// Returns a descriptor that is readable once the bell has rung.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Clears the bell. Must be called before looking for messages, or a message may be missed.
    fn silence(&self);
}

/// The delivery record of an accepted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) from: Name,
    /// How far the sender can be trusted.
    pub(crate) trust: Trust,
    /// When it was accepted, in milliseconds since 1970.
    pub(crate) at: u64,
    /// When it expires, in milliseconds since 1970.
    pub(crate) expires: Option<u64>,
    /// Whether it waits or was acknowledged.
    pub(crate) state: State,
}

/// All operations that clients can request.
pub(crate) trait Store: Mail + Users + Presence {
    /// Gives the calling child process a number that no other live child has. An engine may use it to serve the child
    /// faster.
    fn set_process_number(&self, number: usize);

    /// Sets the client that the calling process serves. The limits of the store depend on it. Without this call, the
    /// process serves the operator.
    fn set_client(&self, client: Client);
}

/// A store, as used by the program that opens it.
pub(crate) trait Engine: Store + Care {
    /// Sets the limits for all processes forked from now on.
    fn set_limits(&mut self, limits: Limits);

    /// Sizes the cache of open files for this descriptor limit.
    fn set_descriptor_limit(&mut self, descriptors: usize);

    /// Returns the number of descriptors that a process can make use of.
    fn useful_descriptors(&self) -> usize;

    /// Returns the descriptors that a child needs. A child closes all others.
    fn descriptors(&self) -> Vec<RawFd>;

    /// Prepares the helper process of this engine for all processes forked from now on; `None` when the engine needs
    /// none.
    ///
    /// # Errors
    /// When `mmap(2)` fails. The children then do the helper's work themselves.
    fn prepare_helper(&mut self) -> io::Result<Option<StoreHelper>>;

    /// Does the work of the helper process until the queue is drained. Only one process may run it at a time.
    ///
    /// # Errors
    /// System errors. The helper can be started again.
    fn run_helper(&self, queue: SubmissionQueue) -> Result<(), StoreError>;

    /// Shares the counters of what open clients use with all processes forked from now on. They must be 0. Without this
    /// call, the store does not limit it.
    ///
    /// # Errors
    /// When `mmap(2)` fails.
    fn share_usage(&mut self, usage: OpenUsage<&'static AtomicU64>) -> io::Result<()>;

    /// Corrects these counters again and again, until the process is killed.
    ///
    /// # Errors
    /// System errors. The helper can be started again.
    fn run_counter(&self) -> Result<(), StoreError>;

    /// Calls `report` for each request that fails because a disk is full.
    fn on_disk_full(&mut self, report: Box<dyn Fn(&StoreError) + Send + Sync>);
}

/// The helper process of an engine.
#[derive(Debug)]
pub(crate) struct StoreHelper {
    /// Its name in the log.
    pub(crate) name: &'static str,
    /// Its process title.
    pub(crate) title: &'static str,
    /// The effect on the children while it does not run, for the log.
    pub(crate) meanwhile: &'static str,
    /// The descriptors that it needs.
    pub(crate) descriptors: Vec<RawFd>,
    /// The queue through which the children submit work.
    pub(crate) queue: SubmissionQueue,
}

/// The parameters for opening a store.
#[derive(Clone, Copy)]
pub(crate) struct StoreConfig<'a> {
    pub(crate) spool: &'a Path,
    /// The directory for files that need not survive a reboot; `None` when no client is served.
    pub(crate) run_dir: Option<&'a Path>,
    /// The limits of each mailbox and of the disk.
    pub(crate) limits: Limits,
    /// Whether a name belongs to the login of that name, if there is one: the upgrade of an older format records this.
    pub(crate) reserves: &'a dyn Fn(&Name) -> bool,
}

/// Opens the store for a daemon, or for a tool that uses it exclusively. Creates a missing store and upgrades one of an
/// older format.
///
/// # Errors
/// When another process uses the store, its format is not supported, or it belongs to another user; system errors.
pub(crate) fn open(settings: &StoreConfig<'_>) -> Result<Box<dyn Engine>, StoreError> {
    let mut spool = spool::Spool::open_with(settings.spool, settings.limits, settings.reserves)?;
    if let Some(run_dir) = settings.run_dir {
        spool = spool.with_run_dir(run_dir)?;
    }
    // Each child writes to the spool's cache of open mailboxes, so allocate it in memory that children copy anyway.
    Ok(heap::for_children(|| Box::new(spool)))
}

/// Opens the store for inspection, also while a daemon uses it. If some accepted messages are not visible, also returns
/// the reason. With a run directory, clients that are online with a name can be taken offline.
///
/// # Errors
/// When there is no store, or its format is not supported; system errors.
pub(crate) fn look_at(
    settings: &StoreConfig<'_>,
) -> Result<(Box<dyn Engine>, Option<StoreError>), StoreError> {
    let (mut spool, missing) = spool::Spool::look_at(settings.spool, settings.limits)?;
    if let Some(run_dir) = settings.run_dir {
        spool = spool.beside_run_dir(run_dir)?;
    }
    Ok((Box::new(spool), missing))
}
