//! The spool engine: mailboxes as append-only logs in a directory that many processes use at once.
//!
//! An append holds one of 4,096 lock files for microseconds (read the tail, one write) and waits for the disk without
//! it: for its own mailbox or, under load, for the shared journal that one process writes. A fetch holds a lock on the
//! mailbox file itself, the lease, so that two readers do not get the same messages.

mod acknowledge;
mod append;
mod bell;
mod budget;
mod cache;
mod canaries;
mod check;
mod compact;
mod dedup;
mod encode;
mod fetch;
mod flags;
mod format;
mod handle;
mod history;
mod ids;
mod journal;
mod lock;
mod mailbox;
mod names;
mod open;
mod owners;
mod paths;
mod presence;
mod recount;
mod released;
mod repair;
mod restore;
mod retention;
mod room;
mod set_aside;
mod settle;
mod survey;
mod sweep;
mod used;
mod user_files;
mod users;

// Tests of the spool as a whole. Tests of a single file are in that file.
#[cfg(test)]
#[path = "../../../tests/spool/crash/mod.rs"]
mod crash;
#[cfg(test)]
#[path = "../../../tests/spool/mod.rs"]
mod tests;

pub(super) use handle::Spool;

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicU64;

use self::cache::Cache;
use self::handle::OnFull;
use crate::message::Stored;
use crate::name::Name;
use crate::store::{
    Bell, Care, Client, Delivery, Engine, Finding, Lease, Limits, Mail, MailboxState, OpenUsage,
    Owner, OwnerRecord, Presence, Queue, Reading, Receipt, RestoreTo, Restored, Restoring,
    SetAside, State, Store, StoreError, StoreHelper, Survey, Trace, Users, Waiting,
};
use crate::sys::submission_queue::SubmissionQueue;

impl Mail for Spool {
    fn deliver(&self, batch: &[Delivery<'_>]) -> Vec<Result<Receipt, StoreError>> {
        let receipts = append::append(self, batch).into_iter();
        receipts.map(|receipt| self.reported(receipt)).collect()
    }

    fn fetch(&self, of: &Name) -> Result<Option<Box<dyn Waiting + '_>>, StoreError> {
        Ok(fetch::Handout::lease(self, of)?.map(|lease| Box::new(lease) as Box<dyn Waiting>))
    }

    fn peek(&self, of: &Name) -> Result<Option<Box<dyn Reading + '_>>, StoreError> {
        Ok(fetch::Handout::peek(self, of)?.map(|peek| Box::new(peek) as Box<dyn Reading>))
    }

    fn history(
        &self,
        of: &Name,
        before: Option<u64>,
        each: &mut dyn FnMut(&Stored<'_>) -> bool,
    ) -> Result<(), StoreError> {
        history::history(self, of, before, each)
    }

    fn trace(&self, of: &Name, seq: u64) -> Result<Option<Trace>, StoreError> {
        history::trace(self, of, seq)
    }

    fn bell(&self, of: &Name) -> Result<Box<dyn Bell + '_>, StoreError> {
        Ok(Box::new(bell::Fifo::open(self, of)?))
    }
}

impl Store for Spool {
    fn set_process_number(&self, number: usize) {
        self.journal.set_slot(number);
    }

    fn set_client(&self, client: Client) {
        self.budgets.serve(client);
    }
}

impl Engine for Spool {
    fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    fn set_descriptor_limit(&mut self, descriptors: usize) {
        self.cache = Cache::within(descriptors);
    }

    fn useful_descriptors(&self) -> usize {
        cache::DESCRIPTORS
    }

    fn descriptors(&self) -> Vec<RawFd> {
        self.paths.descriptors()
    }

    fn prepare_helper(&mut self) -> io::Result<Option<StoreHelper>> {
        let queue = self.journal.share()?;
        self.flags.share(queue.words());
        let mut descriptors = self.paths.descriptors();
        descriptors.extend(self.journal.descriptor());
        Ok(Some(StoreHelper {
            name: "the writer of the journal",
            title: "droplined: journal",
            meanwhile: "each child syncs its mailbox by itself",
            descriptors,
            queue,
        }))
    }

    fn run_helper(&self, queue: SubmissionQueue) -> Result<(), StoreError> {
        journal::writer::run(self, queue)
    }

    fn share_usage(&mut self, usage: OpenUsage<&'static AtomicU64>) -> io::Result<()> {
        self.budgets.share(usage)
    }

    fn run_counter(&self) -> Result<(), StoreError> {
        recount::run(self)
    }

    fn on_disk_full(&mut self, report: Box<dyn Fn(&StoreError) + Send + Sync>) {
        self.on_full = Some(OnFull(report));
    }
}

impl Survey for Spool {
    fn mailboxes(&self) -> Result<Vec<Name>, StoreError> {
        survey::mailboxes(self)
    }

    fn queue(&self, of: &Name) -> Result<Option<Queue>, StoreError> {
        survey::queue(self, of)
    }

    fn messages(
        &self,
        of: &Name,
        each: &mut dyn FnMut(&Stored<'_>, State) -> bool,
    ) -> Result<Option<MailboxState>, StoreError> {
        survey::messages(self, of, each)
    }

    fn check(&self, of: &Name) -> Result<Vec<Finding>, StoreError> {
        check::mailbox(self, of)
    }

    fn set_aside(&self) -> Result<Vec<SetAside>, StoreError> {
        restore::list(self)
    }

    fn check_layout(&self) -> Result<Vec<Finding>, StoreError> {
        check::layout(self)
    }
}

impl Care for Spool {
    fn expire(&self, of: &Name) -> Result<u64, StoreError> {
        fetch::Handout::lease_for_care(self, of)?.map_or(Ok(0), |lease| acknowledge::expire(&lease))
    }

    fn restore_set_aside(&self, name: &Name, to: RestoreTo) -> Result<Restored, StoreError> {
        restore::restore(self, name, to)
    }

    fn expire_set_aside(&self, now: u64) -> Result<(), StoreError> {
        settle::settle_all(self)?;
        released::expire(self, now)
    }

    fn tidy(&self) -> Result<(), StoreError> {
        check::tidy(self)
    }

    fn repair(&self, of: &Name) -> Result<(), StoreError> {
        check::repair(self, of)
    }

    fn restore(
        &self,
        of: &Name,
        state: MailboxState,
    ) -> Result<Box<dyn Restoring + '_>, StoreError> {
        Ok(Box::new(check::Restore::begin(self, of, state)?))
    }
}

impl Users for Spool {
    fn register(&self, name: &Name, at: u64, may: &dyn Fn() -> bool) -> Result<bool, StoreError> {
        self.reported(users::register(self, name, at, may))
    }

    fn registered(&self, name: &Name) -> Result<Option<u64>, StoreError> {
        user_files::registered(self, name)
    }

    fn deregister(&self, name: &Name) -> Result<bool, StoreError> {
        users::deregister(self, name)
    }

    fn claim(&self, name: &Name, uid: Option<u32>, at: u64) -> Result<Owner, StoreError> {
        owners::claim(self, name, uid, at)
    }

    fn restore_claim(&self, name: &Name, record: OwnerRecord) -> Result<(), StoreError> {
        owners::restore_claim(self, name, record)
    }

    fn claimed(&self, name: &Name) -> Result<bool, StoreError> {
        user_files::has_owner_record(self, name)
    }

    fn owner(&self, name: &Name) -> Result<Option<Owner>, StoreError> {
        owners::owner(self, name)
    }

    fn assign(&self, name: &Name, uid: u32) -> Result<bool, StoreError> {
        owners::assign(self, name, uid)
    }

    fn in_open_use(&self, name: &Name) -> Result<bool, StoreError> {
        owners::in_open_use(self, name)
    }

    fn keep_canaries(&self, names: &[Name]) -> Result<(), StoreError> {
        canaries::keep(self, names)
    }

    fn canaries(&self) -> Result<Vec<Name>, StoreError> {
        canaries::read(self)
    }

    fn claims(&self) -> Result<Vec<(Name, OwnerRecord)>, StoreError> {
        owners::claims(self)
    }

    fn release(&self, name: &Name) -> Result<bool, StoreError> {
        owners::release(self, name, None)
    }

    fn release_owner(&self, name: &Name, uid: u32) -> Result<bool, StoreError> {
        owners::release(self, name, Some(uid))
    }

    fn registrations(
        &self,
        after: Option<&Name>,
        each: &mut dyn FnMut(&Name, u64) -> bool,
    ) -> Result<(), StoreError> {
        names::each(self, after, each)
    }

    fn names(&self) -> Result<Vec<Name>, StoreError> {
        user_files::registered_names(self)
    }
}

impl Presence for Spool {
    fn take(
        &self,
        name: &Name,
        lease: &Lease,
        may_take: &dyn Fn(Option<&Lease>) -> bool,
    ) -> Result<bool, StoreError> {
        self.reported(presence::take(self, name, lease, may_take))
    }

    fn lease(&self, name: &Name) -> Result<Option<Lease>, StoreError> {
        presence::lease(self, name)
    }

    fn give_back(&self, name: &Name, whose: &dyn Fn(&Lease) -> bool) -> Result<bool, StoreError> {
        presence::give_back(self, name, whose)
    }
}
