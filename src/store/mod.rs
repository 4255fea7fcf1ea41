//! Where messages are kept: the interface that an engine implements, and opening one.
//!
//! What every engine promises (`tests/store_contract/` holds each to it):
//! 1. what [`Mail::deliver`] returns for is on the disk;
//! 2. a message leaves the queue by [`Waiting::acknowledge`] and in no other way, and one that is
//!    handed out again has the same number and id;
//! 3. a mailbox is one sequence, in the order of its numbers; none is given twice, none is shown
//!    before its message is on the disk;
//! 4. a message is handed out whole or not at all.
#![forbid(unsafe_code)]

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

pub(crate) use self::error::StoreError;
pub(crate) use self::operator::{Care, Finding, Queue, Restoring, State, Survey};
pub(crate) use self::presence::{Lease, Presence};
pub(crate) use self::users::{User, Users};
pub(crate) use crate::config::Limits;

use crate::message::{Draft, Stored};
use crate::name::Name;
use crate::sys::heap;
use crate::sys::submission_queue::SubmissionQueue;

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

    /// How many messages wait. Of more than a mebibyte it is told from their numbers: those that have expired, or
    /// were lost to damage, are counted as well then.
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

/// Everything that a client can ask for.
pub(crate) trait Store: Mail + Users + Presence {
    /// Gives the calling process, which was forked from the one that opened the store, a number of its own: no two have
    /// the same at the same time. An engine may serve processes with a number faster.
    fn set_process_number(&self, number: usize);
}

/// A store, for the program that opens it.
pub(crate) trait Engine: Store + Care {
    /// Sets other limits for all processes that are forked from now on.
    fn set_limits(&mut self, limits: Limits);

    /// Sizes what a process keeps open for a limit of so many descriptors.
    fn set_descriptor_limit(&mut self, descriptors: usize);

    /// How many descriptors are of use to a process.
    fn useful_descriptors(&self) -> usize;

    /// The descriptors that a child needs. It closes all others.
    fn descriptors(&self) -> Vec<RawFd>;

    /// Prepares the helper process of this engine, for all processes that are forked from now on; `None` for an engine
    /// that needs none.
    ///
    /// # Errors
    /// Those of `mmap(2)`. Without the helper the children do its work themselves.
    fn prepare_helper(&mut self) -> io::Result<Option<StoreHelper>>;

    /// Does what the helper process is for, until the queue is drained. For one process at a time.
    ///
    /// # Errors
    /// Those of the system. It can be started again.
    fn run_helper(&self, queue: SubmissionQueue) -> Result<(), StoreError>;

    /// Calls `report` for each request that fails for want of room on a disk.
    fn on_disk_full(&mut self, report: Box<dyn Fn(&StoreError) + Send + Sync>);
}

/// The process that an engine needs beside the children.
#[derive(Debug)]
pub(crate) struct StoreHelper {
    /// What the log calls it.
    pub(crate) name: &'static str,
    /// The title of its process.
    pub(crate) title: &'static str,
    /// What the children do while it does not run, for the log.
    pub(crate) meanwhile: &'static str,
    /// The descriptors that it needs.
    pub(crate) descriptors: Vec<RawFd>,
    /// Where the children submit work to it.
    pub(crate) queue: SubmissionQueue,
}

/// What a store is opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreConfig<'a> {
    /// The directory of the messages.
    pub(crate) spool: &'a Path,
    /// The directory of what may vanish at a reboot; `None` where no client is served.
    pub(crate) run_dir: Option<&'a Path>,
    /// How much a mailbox may hold.
    pub(crate) limits: Limits,
}

/// Opens the store for a daemon, or for a tool that works on it alone. It is made where there is none, and one of an
/// older format is taken over.
///
/// # Errors
/// When another process works on it; when it has another format, or belongs to another user; those of the system.
pub(crate) fn open(settings: &StoreConfig<'_>) -> Result<Box<dyn Engine>, StoreError> {
    let mut spool = spool::Spool::open(settings.spool, settings.limits)?;
    if let Some(run_dir) = settings.run_dir {
        spool = spool.with_run_dir(run_dir)?;
    }
    // Each child writes to it, and notes there which mailboxes it has open.
    Ok(heap::for_children(|| Box::new(spool)))
}

/// Opens the store to look at it, whether or not a daemon works on it. With it comes why some of what was accepted cannot
/// be seen, if that is so.
///
/// # Errors
/// When there is none, or it has another format, and those of the system.
pub(crate) fn look_at(
    settings: &StoreConfig<'_>,
) -> Result<(Box<dyn Engine>, Option<StoreError>), StoreError> {
    let (spool, missing) = spool::Spool::look_at(settings.spool, settings.limits)?;
    Ok((Box::new(spool), missing))
}
