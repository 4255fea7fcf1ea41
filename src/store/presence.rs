//! The interface to presence leases: which users are online.

use std::net::{IpAddr, SocketAddr};

use super::StoreError;
use crate::message::{LeaseToken, Speaks, TicketSecret};
use crate::name::Name;

/// Access to the leases. A lease ends when it expires, is given back, or the machine reboots.
pub(crate) trait Presence {
    /// Takes the lease of `name` if `may_take` agrees, which gets the present lease. Returns whether it was taken. No
    /// claim of the name takes effect between the two. The lease is not synced, as it need not survive a crash of the
    /// machine.
    ///
    /// # Errors
    /// When the lease cannot be written.
    fn take(
        &self,
        name: &Name,
        lease: &Lease,
        may_take: &dyn Fn(Option<&Lease>) -> bool,
    ) -> Result<bool, StoreError>;

    /// Returns the current lease of `name`.
    ///
    /// # Errors
    /// When the lease cannot be read.
    fn lease(&self, name: &Name) -> Result<Option<Lease>, StoreError>;

    /// Ends the lease of `name` if `whose` accepts it. Returns whether a lease was ended.
    ///
    /// # Errors
    /// When the lease cannot be removed.
    fn give_back(&self, name: &Name, whose: &dyn Fn(&Lease) -> bool) -> Result<bool, StoreError>;
}

/// A lease: the presence of a user at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The address for instant messages; `None` while the name is only reserved.
    pub(crate) address: Option<SocketAddr>,
    /// The dialect of instant messages supported there.
    pub(crate) speaks: Speaks,
    /// The address from which the lease was taken.
    pub(crate) by: IpAddr,
    /// Identifies the lease across renewals.
    pub(crate) token: LeaseToken,
    /// The secret for tickets to send to this client; `None` if it takes no sealed messages.
    pub(crate) secret: Option<TicketSecret>,
    /// When the user came online, in milliseconds since 1970.
    pub(crate) since: u64,
    /// When it ends, in milliseconds since boot ([`boot_millis`]).
    ///
    /// [`boot_millis`]: crate::sys::clock::boot_millis
    pub(crate) until: u64,
}
