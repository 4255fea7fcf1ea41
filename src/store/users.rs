//! The interface to registered names and to names that belong to logins.

use super::StoreError;
use crate::name::Name;

/// The directory of registered names, and of names that belong to logins.
pub(crate) trait Users {
    /// Registers a name at time `at`, in milliseconds since 1970, if `may` agrees; returns `false` when it does not, or
    /// when the name is already registered. The registration is durable when this returns. No claim of the name takes
    /// effect between the two.
    ///
    /// # Errors
    /// When it cannot be written.
    fn register(&self, name: &Name, at: u64, may: &dyn Fn() -> bool) -> Result<bool, StoreError>;

    /// Returns when a name was registered, in milliseconds since 1970; `None` when it is not registered.
    ///
    /// # Errors
    /// When the registration is damaged or cannot be read.
    fn registered(&self, name: &Name) -> Result<Option<u64>, StoreError>;

    /// Removes a registration; returns `false` when there was none. The messages stay, and are not for a later owner.
    ///
    /// # Errors
    /// When the registration cannot be removed.
    fn deregister(&self, name: &Name) -> Result<bool, StoreError>;

    /// Makes the login with user ID `uid` the owner of a name, durably, at time `at` in milliseconds since 1970, unless
    /// the name has an owner. Returns the owner. An owner without user ID gets this one.
    ///
    /// A client that was online with the name before is offline. If a client has read the mailbox, acknowledged messages
    /// or registered the name, its messages are set aside, and the owner begins with an empty mailbox.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the owner record is damaged; when the claim cannot be written.
    fn claim(&self, name: &Name, uid: Option<u32>, at: u64) -> Result<Owner, StoreError>;

    /// Gives a name this owner record, durably, without the effects of a claim: for an import. A complete record with a
    /// user ID stays.
    ///
    /// # Errors
    /// When the record cannot be written.
    fn restore_claim(&self, name: &Name, record: OwnerRecord) -> Result<(), StoreError>;

    /// Returns whether a name has an owner record, complete or not. Its account may be deleted. Reserved logins without a
    /// record are not counted.
    ///
    /// # Errors
    /// When the claim cannot be read.
    fn claimed(&self, name: &Name) -> Result<bool, StoreError>;

    /// Returns the owner of a name; `None` when it has no complete owner record.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the owner record is damaged; when it cannot be read.
    fn owner(&self, name: &Name) -> Result<Option<Owner>, StoreError>;

    /// Makes the login with user ID `uid` the owner of a name that has an owner record, complete, incomplete or damaged,
    /// durably; returns `false` when it has none. The messages stay. The presence of another owner ends.
    ///
    /// # Errors
    /// When the owner cannot be written.
    fn assign(&self, name: &Name, uid: u32) -> Result<bool, StoreError>;

    /// Returns whether clients have acted as a name while it had no owner: it is registered, or they have used its
    /// mailbox.
    ///
    /// # Errors
    /// When the registration or the mailbox is damaged or cannot be read.
    fn in_open_use(&self, name: &Name) -> Result<bool, StoreError>;

    /// Keeps the names of logins that are known to come from a directory service, in place of those that were kept before.
    ///
    /// # Errors
    /// When they cannot be written.
    fn keep_canaries(&self, names: &[Name]) -> Result<(), StoreError>;

    /// Returns the names that [`keep_canaries`](Self::keep_canaries) has kept.
    ///
    /// # Errors
    /// When they cannot be read.
    fn canaries(&self) -> Result<Vec<Name>, StoreError>;

    /// Returns all names that have an owner record, sorted, with their records.
    ///
    /// # Errors
    /// When they cannot be read.
    fn claims(&self) -> Result<Vec<(Name, OwnerRecord)>, StoreError>;

    /// Removes a claim; returns `false` when there was none. The messages of the name are set aside first, so that the
    /// next owner does not get them. The client that is online with the name is offline, if the store was opened with the
    /// run directory of the daemon.
    ///
    /// # Errors
    /// When the messages cannot be set aside or the claim cannot be removed.
    fn release(&self, name: &Name) -> Result<bool, StoreError>;

    /// Like [`release`](Self::release), but only if the owner is the login with user ID `uid`.
    ///
    /// # Errors
    /// When the messages cannot be set aside or the claim cannot be removed.
    fn release_owner(&self, name: &Name, uid: u32) -> Result<bool, StoreError>;

    /// Passes the registered names after `after`, sorted, and the times of their registration in milliseconds since 1970 to
    /// `each`, until it returns `false`. Names that are not passed cost little.
    ///
    /// # Errors
    /// When they cannot be read.
    fn registrations(
        &self,
        after: Option<&Name>,
        each: &mut dyn FnMut(&Name, u64) -> bool,
    ) -> Result<(), StoreError>;

    /// Returns all registered names, sorted, for an operator: reads all of them.
    ///
    /// # Errors
    /// When they cannot be read.
    fn names(&self) -> Result<Vec<Name>, StoreError>;
}

/// The login that owns a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Its user ID; `None` if it is not known: a record of an earlier version, or an import of a name that is no login here.
    pub(crate) uid: Option<u32>,
    /// When it became the owner, in milliseconds since 1970; 0 if that is not known.
    pub(crate) since: u64,
    /// Whether its account was in /etc/passwd when it was recorded.
    pub(crate) in_files: bool,
}

/// The state of the owner record of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerRecord {
    None,
    /// It was begun and not completed: a claim was interrupted. The name is closed, and the next use completes it.
    Incomplete,
    Complete(Owner),
    /// It has other contents. The name is closed, and its owner is not known.
    Damaged,
}

impl OwnerRecord {
    /// Returns the user ID of the owner, if it is known.
    pub(crate) fn uid(self) -> Option<u32> {
        match self {
            Self::Complete(owner) => owner.uid,
            Self::None | Self::Incomplete | Self::Damaged => None,
        }
    }
}
