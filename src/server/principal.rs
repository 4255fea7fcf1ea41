//! Who a client is, how that is known, and what it may do.
//!
//! | principal | how it is known | may |
//! |---|---|---|
//! | login | Unix socket: the kernel reports the uid | everything as its login name; the first use claims the name |
//! | root | Unix socket, uid 0 | everything as any name |
//! | no login | Unix socket, a uid without a login or with one that is not a valid name | nothing |
//! | open | TCP from `open_networks` | everything as a name that is not claimed |
//! | stranger | TCP from elsewhere | nothing |
//!
//! A client that may send at all may also send *to* a claimed name. An open client must stop acting as a name once a
//! login has claimed it. Requests that take time or have several steps therefore check again before the step that takes
//! effect.

use std::io;

use super::config::Config;
use crate::message::Trust;
use crate::name::Name;
use crate::store::{StoreError, Users};
use crate::sys::clock::unix_millis;
use crate::sys::login;
use crate::sys::peer::Peer;
use crate::wire::line::{Declined, Refusal};

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Principal {
    /// A login of this machine.
    Login(Name),
    /// Root of this machine, and its login.
    Root(Name),
    /// A uid of this machine that has no login, or one that is not a valid name.
    NoLogin(u32),
    /// A client from an open network, which states its own name.
    Open,
    /// A client from any other network.
    Stranger,
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act<'n> {
    /// Make a request at all.
    Ask,
    /// Begin to act as this name: send from it, read its mailbox, be online with it.
    As(&'n Name),
    /// Continue to act as this name, which was allowed before.
    StillAs(&'n Name),
}

/// Why a request is refused or fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{0}")]
    Denied(Declined),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot draw a random number: {0}")]
    Random(io::Error),
}

impl Refused {
    /// Returns the refusal to send to the client; `None` for an internal error, whose reason only the log has.
    pub(super) fn declined(&self) -> Option<Declined> {
        let why = match self {
            Self::Denied(declined) => return Some(declined.clone()),
            Self::Store(StoreError::Busy) => Refusal::Busy,
            Self::Store(StoreError::DiskFull(_)) => Refusal::DiskFull,
            Self::Store(StoreError::Quota(..)) => Refusal::MailboxFull,
            Self::Store(StoreError::ReadOnly(_)) => Refusal::ReadOnly,
            Self::Store(
                StoreError::Damaged { .. }
                | StoreError::Exists(_)
                | StoreError::Unavailable { .. }
                | StoreError::Order { .. }
                | StoreError::Unusable { .. }
                | StoreError::Failed { .. },
            )
            | Self::Random(_) => return None,
        };
        Some(why.into())
    }
}

impl Principal {
    /// Returns who a client from `peer` is.
    pub(super) fn of(peer: Peer, config: &Config) -> Self {
        match peer {
            Peer::Inet(address) => {
                let ip = address.ip().to_canonical();
                if config.open_networks.iter().any(|net| net.contains(&ip)) {
                    Self::Open
                } else {
                    Self::Stranger
                }
            }
            Peer::Local { uid, .. } => {
                let login = login::name(uid).unwrap_or_else(|e| {
                    log::warn!("cannot look up the login of uid {uid}: {e}");
                    None
                });
                match login.and_then(|login| login.parse().ok()) {
                    Some(name) if uid == 0 => Self::Root(name),
                    Some(name) => Self::Login(name),
                    None => Self::NoLogin(uid),
                }
            }
        }
    }

    /// Returns how far the client's name can be trusted.
    pub(super) fn trust(&self) -> Trust {
        match self {
            Self::Login(_) | Self::Root(_) => Trust::Local,
            Self::NoLogin(_) | Self::Open | Self::Stranger => Trust::Open,
        }
    }

    /// Returns the client's login; `None` if the client must state a name.
    pub(super) fn login(&self) -> Option<&Name> {
        match self {
            Self::Login(name) | Self::Root(name) => Some(name),
            Self::NoLogin(_) | Self::Open | Self::Stranger => None,
        }
    }

    /// Returns whether a login can claim the name that this client acts as.
    pub(super) fn can_lose_its_name(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Login(_) | Self::Root(_) | Self::NoLogin(_) | Self::Stranger => false,
        }
    }

    /// Decides whether the client may do `act`; no other function decides this. A login that begins to act as its name
    /// claims the name. All other acts change nothing, take no lock, and cost at most one file lookup.
    ///
    /// # Errors
    /// [`Refused::Denied`] when the client may not do `act`; errors of the store.
    pub(super) fn may(&self, act: Act<'_>, users: &(impl Users + ?Sized)) -> Result<(), Refused> {
        match (self, act) {
            (Self::Stranger, _) => denied(Refusal::AddressNotAllowed.into()),
            (Self::NoLogin(uid), _) => denied(Declined::with(Refusal::NoLogin, uid)),
            (_, Act::Ask) => Ok(()),
            (Self::Login(login) | Self::Root(login), Act::As(name)) if login == name => {
                Ok(users.claim(name, unix_millis())?)
            }
            (Self::Login(login), Act::As(_)) => {
                denied(Declined::with(Refusal::NotYourLogin, login))
            }
            (Self::Open, Act::As(name) | Act::StillAs(name)) if users.claimed(name)? => {
                denied(Declined::with(Refusal::ClaimedName, name))
            }
            (Self::Login(_), Act::StillAs(_))
            | (Self::Root(_) | Self::Open, Act::As(_) | Act::StillAs(_)) => Ok(()),
        }
    }
}

fn denied(declined: Declined) -> Result<(), Refused> {
    Err(Refused::Denied(declined))
}
