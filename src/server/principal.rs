//! Who a client is, how that is known, and what it may do.
//!
//! | principal | how it is known | may |
//! |---|---|---|
//! | login | Unix socket: the kernel says whose process it is | everything as its login name, which it claims by that |
//! | root | Unix socket, uid 0 | everything as any name |
//! | no login | Unix socket, a uid whose login is not a name | nothing |
//! | open | TCP from `open_networks` | everything as a name that is not claimed |
//! | stranger | TCP from elsewhere | nothing |
//!
//! Every client may send *to* a claimed name. An open client that acted as a name before it was claimed may not go on:
//! what takes time, or has several steps, asks again before the step that counts.

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
    /// A user of this machine whose login is not a name, or who has none: the number.
    NoLogin(u32),
    /// A client from an open network, which says its name.
    Open,
    /// A client from elsewhere.
    Stranger,
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act<'n> {
    /// Ask for anything at all.
    Ask,
    /// Begin to act as this name: send from it, read its mailbox, be online with it.
    As(&'n Name),
    /// Go on as this name, which it was allowed to begin with.
    StillAs(&'n Name),
}

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The client may not do it.
    #[error("{0}")]
    Denied(Declined),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel has no random number for it.
    #[error("cannot draw a random number: {0}")]
    Random(io::Error),
}

impl Refused {
    /// What the client is told when it can do something about it, or wait; `None` for an error that only the log
    /// explains.
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
    /// Who a client from `peer` is.
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
                    log::warn!("cannot find out the login of user number {uid}: {e}");
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

    /// How far the name that it says can be believed.
    pub(super) fn trust(&self) -> Trust {
        match self {
            Self::Login(_) | Self::Root(_) => Trust::Local,
            Self::NoLogin(_) | Self::Open | Self::Stranger => Trust::Open,
        }
    }

    /// The name that it has without saying it.
    pub(super) fn login(&self) -> Option<&Name> {
        match self {
            Self::Login(name) | Self::Root(name) => Some(name),
            Self::NoLogin(_) | Self::Open | Self::Stranger => None,
        }
    }

    /// Whether a name that it acts as can become another's meanwhile.
    pub(super) fn can_lose_its_name(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Login(_) | Self::Root(_) | Self::NoLogin(_) | Self::Stranger => false,
        }
    }

    /// Decides what it may do: the one place for that. A login that begins to act as its name claims it by that. The rest
    /// changes nothing, takes no lock, and costs at most one look for a file.
    ///
    /// # Errors
    /// [`Refused::Denied`] when it may not, and those of the store.
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
