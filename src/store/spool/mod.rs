//! The spool: mailboxes as append-only logs in a directory, guarded by lock files.
//!
//! Many processes work on it at once, and share nothing else. An append holds one of 4,096 lock files
//! for microseconds (read the tail, one write) and waits for the disk outside of it, so that the file
//! system commits many processes' messages together. A fetch holds a lock on the mailbox itself, the
//! lease, so that two readers do not get the same messages.

mod ack;
mod append;
mod check;
mod compact;
mod dedup;
mod fetch;
mod layout;
mod limits;
mod mailbox;
mod record;
mod repair;
mod retention;
mod survey;
mod users;
mod walk;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;

pub(crate) use layout::Spool;
pub(crate) use limits::Limits;

use crate::message::Stored;
use crate::name::Name;
use crate::store::{
    Care, Delivery, Finding, Mail, Queue, Receipt, Restoring, State, StoreError, Survey, User,
    Users, Waiting,
};

impl Mail for Spool {
    fn deliver(&self, batch: &[Delivery<'_>]) -> Vec<Result<Receipt, StoreError>> {
        append::append(self, batch)
    }

    fn fetch(&self, of: &Name) -> Result<Option<Box<dyn Waiting + '_>>, StoreError> {
        Ok(fetch::Lease::take(self, of)?.map(|lease| Box::new(lease) as Box<dyn Waiting>))
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
    ) -> Result<Option<u64>, StoreError> {
        survey::messages(self, of, each)
    }

    fn check(&self, of: &Name) -> Result<Vec<Finding>, StoreError> {
        check::mailbox(self, of)
    }

    fn check_layout(&self) -> Result<Vec<Finding>, StoreError> {
        check::layout(self)
    }
}

impl Care for Spool {
    fn expire(&self, of: &Name) -> Result<u64, StoreError> {
        fetch::Lease::take(self, of)?.map_or(Ok(0), |lease| ack::expire(&lease))
    }

    fn tidy(&self) -> Result<(), StoreError> {
        check::tidy(self)
    }

    fn repair(&self, of: &Name) -> Result<(), StoreError> {
        check::repair(self, of)
    }

    fn restore(&self, of: &Name, acked: u64) -> Result<Box<dyn Restoring + '_>, StoreError> {
        Ok(Box::new(check::Restore::begin(self, of, acked)?))
    }
}

impl Users for Spool {
    fn register(&self, name: &Name, at: u64) -> Result<bool, StoreError> {
        users::register(self, name, at)
    }

    fn users(&self) -> Result<Vec<User>, StoreError> {
        users::users(self)
    }
}
