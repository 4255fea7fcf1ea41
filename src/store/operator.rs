//! Mailboxes, as an operator looks at them and after them: the interface.

use super::StoreError;
use crate::message::Stored;
use crate::name::Name;

/// Looking at mailboxes, for an operator. Changes nothing that anybody sees, and disturbs nobody.
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
    /// Where, as text for a person: a path.
    pub(crate) place: String,
    /// How far from the beginning of that, in bytes.
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
