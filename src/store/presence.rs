//! Who is online: the interface.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::StoreError;
use crate::name::Name;

/// Who is online, and where: leases that end by themselves, and with a reboot.
pub(crate) trait Presence {
    /// Takes the lease of `name`, unless somebody has it whom `may_replace` does not let go; whether it was
    /// taken. It is written whole before this returns, and not waited for: no disk needs to keep it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn take(
        &self,
        name: &Name,
        lease: &Lease,
        may_replace: &dyn Fn(&Lease) -> bool,
    ) -> Result<bool, StoreError>;

    /// The lease of `name`, if it has not ended.
    ///
    /// # Errors
    /// When it cannot be read.
    fn lease(&self, name: &Name) -> Result<Option<Lease>, StoreError>;

    /// Ends the lease of `name` if `whose` agrees; whether there was one that it agreed to.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn give_back(&self, name: &Name, whose: &dyn Fn(&Lease) -> bool) -> Result<bool, StoreError>;

    /// Those who have a lease, where they are known, sorted.
    ///
    /// # Errors
    /// When they cannot be read.
    fn online(&self) -> Result<Vec<(Name, Lease)>, StoreError>;
}

/// That somebody is online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Where instant messages go; `None` while somebody has reserved the name and not said that yet.
    pub(crate) address: Option<SocketAddr>,
    /// What is understood there.
    pub(crate) speaks: Speaks,
    /// From where the lease was taken.
    pub(crate) by: IpAddr,
    /// A random number, so that its taker knows it again.
    pub(crate) token: u64,
    /// Since when, in milliseconds since 1970.
    pub(crate) since: u64,
    /// When it ends, in milliseconds since this machine was started ([`boot_millis`]).
    ///
    /// [`boot_millis`]: crate::sys::clock::boot_millis
    pub(crate) until: u64,
}

/// Which instant messages a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// The old text form.
    Text,
    /// Our datagrams, which are acknowledged.
    Datagram,
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Datagram => "datagram",
        })
    }
}

impl FromStr for Speaks {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "datagram" => Ok(Self::Datagram),
            _ => Err(()),
        }
    }
}
