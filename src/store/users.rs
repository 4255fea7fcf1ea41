//! Names that are registered, and names that belong to logins: the interface.

use super::StoreError;
use crate::name::Name;

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

/// A registered name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The name.
    pub(crate) name: Name,
    /// Since when, in milliseconds since 1970.
    pub(crate) registered: u64,
}
