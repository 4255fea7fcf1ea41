//! The operator's interface to mailboxes: inspection and maintenance.

use super::StoreError;
use crate::message::Stored;
use crate::name::Name;

/// Inspection of mailboxes. It changes nothing that clients can see, and does not interfere with them.
pub(crate) trait Survey {
    /// Returns the names of all mailboxes, sorted.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn mailboxes(&self) -> Result<Vec<Name>, StoreError>;

    /// Returns a summary of the queue of `of`; `None` when there is no such mailbox.
    ///
    /// # Errors
    /// When the mailbox is damaged or cannot be read.
    fn queue(&self, of: &Name) -> Result<Option<Queue>, StoreError>;

    /// Calls `each` with all messages in the mailbox of `of`, in order, until it returns `false`. Returns the state of
    /// the mailbox; `None` when there is no such mailbox.
    ///
    /// # Errors
    /// When the mailbox is damaged as a whole or cannot be read.
    fn messages(
        &self,
        of: &Name,
        each: &mut dyn FnMut(&Stored<'_>, State) -> bool,
    ) -> Result<Option<MailboxState>, StoreError>;

    /// Reads every byte of the mailbox of `of` and returns its faults.
    ///
    /// # Errors
    /// When the mailbox cannot be read.
    fn check(&self, of: &Name) -> Result<Vec<Finding>, StoreError>;

    /// Returns the set-aside mailboxes, sorted by name and time.
    ///
    /// # Errors
    /// When they cannot be read.
    fn set_aside(&self) -> Result<Vec<SetAside>, StoreError>;

    /// Returns the faults of the store as a whole, without reading mailboxes.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn check_layout(&self) -> Result<Vec<Finding>, StoreError>;
}

/// Maintenance of mailboxes.
pub(crate) trait Care: Survey {
    /// Removes expired messages from the head of the queue of `of`, and history beyond the limits. Returns
    /// the number of expired messages.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while a reader holds the lease; system errors.
    fn expire(&self, of: &Name) -> Result<u64, StoreError>;

    /// Adds the waiting messages of `name` that were set aside to its mailbox, oldest first and with new numbers, if they
    /// are for its present owner. Messages that were acknowledged stay set aside.
    ///
    /// # Errors
    /// System errors. A repeated call continues without losing or repeating a message.
    fn restore_set_aside(&self, name: &Name, to: RestoreTo) -> Result<Restored, StoreError>;

    /// Removes the mailboxes that were set aside 30 days before `now`, in milliseconds since 1970.
    ///
    /// # Errors
    /// System errors.
    fn expire_set_aside(&self, now: u64) -> Result<(), StoreError>;

    /// Removes the temporary files of unfinished work. No other process may use the store.
    ///
    /// # Errors
    /// System errors.
    fn tidy(&self) -> Result<(), StoreError>;

    /// Rewrites the mailbox of `of` with its valid records; the rest goes to quarantine. No other process
    /// may use the store.
    ///
    /// # Errors
    /// System errors. The mailbox is then unchanged.
    fn repair(&self, of: &Name) -> Result<(), StoreError>;

    /// Begins to restore the mailbox of `of`, which has this state. No other process may use the store.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the mailbox exists; system errors.
    fn restore(
        &self,
        of: &Name,
        state: MailboxState,
    ) -> Result<Box<dyn Restoring + '_>, StoreError>;
}

/// The state of a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MailboxState {
    /// The number of the last acknowledged message, or 0.
    pub(crate) acked: u64,
    /// Whether clients have used it while its name had no owner.
    pub(crate) used: bool,
}

/// A mailbox that is being restored. It is not visible until it is finished.
pub(crate) trait Restoring {
    /// Adds a message. Sequence numbers must increase.
    ///
    /// # Errors
    /// [`StoreError::Order`] when they do not; system errors.
    fn push(&mut self, message: &Stored<'_>) -> Result<(), StoreError>;

    /// Moves the mailbox to its place, durably.
    ///
    /// # Errors
    /// System errors.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// The state of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is in the queue.
    Waiting,
    /// It was acknowledged and is history.
    Read,
}

/// A fault that a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The place, for a person to read: a path.
    pub(crate) place: String,
    /// The offset in that place, in bytes.
    pub(crate) offset: u64,
    pub(crate) what: String,
}

/// To whom messages belonged when they were set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FormerOwner {
    /// The clients of a name that had no owner.
    None,
    /// The login with this user ID.
    Login(u32),
    /// An owner whose user ID is not known.
    Unknown,
}

/// A mailbox that was set aside when its name got another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetAside {
    pub(crate) name: Name,
    /// When it was set aside, in milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) from: FormerOwner,
    pub(crate) waiting: u64,
    /// The number of acknowledged messages that are kept.
    pub(crate) read: u64,
    /// Its size on the disk, in bytes.
    pub(crate) bytes: u64,
}

/// Which set-aside messages a restore adds to a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestoreTo {
    /// Those that belonged to the present owner of the name, or to no owner if it has none.
    FormerOwner,
    /// All, if the name has an owner.
    PresentOwner,
}

/// The result of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) messages: u64,
    /// The number of set-aside mailboxes whose waiting messages are not for the present owner.
    pub(crate) others: u64,
    /// The number of set-aside mailboxes that cannot be read.
    pub(crate) unreadable: usize,
}

/// A summary of the messages that wait in a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) waiting: u64,
    /// Their size on the disk, in bytes.
    pub(crate) bytes: u64,
    /// When the first of them was accepted, in milliseconds since 1970.
    pub(crate) oldest: Option<u64>,
}
