//! The interface to registered names and to names that belong to logins.

use super::StoreError;
use crate::name::Name;

/// The directory of registered names, and of names that belong to logins.
pub(crate) trait Users {
    /// Registers a name at time `at`, in milliseconds since 1970; returns `false` when it is already
    /// registered. The registration is durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    fn register(&self, name: &Name, at: u64) -> Result<bool, StoreError>;

    /// Returns when a name was registered, in milliseconds since 1970; `None` when it is not registered.
    ///
    /// # Errors
    /// When the registration is damaged or cannot be read.
    fn registered(&self, name: &Name) -> Result<Option<u64>, StoreError>;

    /// Removes a registration; returns `false` when there was none. The mailbox is not changed.
    ///
    /// # Errors
    /// When the registration cannot be removed.
    fn deregister(&self, name: &Name) -> Result<bool, StoreError>;

    /// Claims a name for the login of this machine with the same name, durably, at time `at`.
    ///
    /// # Errors
    /// When the claim cannot be written.
    fn claim(&self, name: &Name, at: u64) -> Result<(), StoreError>;

    /// Returns whether a name belongs to a login of this machine.
    ///
    /// # Errors
    /// When the claim cannot be read.
    fn claimed(&self, name: &Name) -> Result<bool, StoreError>;

    /// Returns all names that belong to logins, sorted, with the times of their claims.
    ///
    /// # Errors
    /// When they cannot be read.
    fn claims(&self) -> Result<Vec<(Name, u64)>, StoreError>;

    /// Removes a claim; returns `false` when there was none.
    ///
    /// # Errors
    /// When the claim cannot be removed.
    fn release(&self, name: &Name) -> Result<bool, StoreError>;

    /// Returns all registered names, sorted.
    ///
    /// # Errors
    /// When they cannot be read.
    fn names(&self) -> Result<Vec<Name>, StoreError>;

    /// Returns all registered names, sorted, with the times of their registration.
    ///
    /// # Errors
    /// When they cannot be read, or a record is damaged.
    fn users(&self) -> Result<Vec<User>, StoreError>;
}

/// A registered name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: Name,
    /// When it was registered, in milliseconds since 1970.
    pub(crate) registered: u64,
}
