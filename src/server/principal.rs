//! Who a client is, how that is known, and what it may do.
//!
//! | principal | how it is known | may |
//! |---|---|---|
//! | login | Unix socket: the kernel reports the uid, whose login has the same uid | everything as its login name; the first use claims the name |
//! | root | Unix socket, uid 0 | everything as any name |
//! | no login | Unix socket, any other uid | nothing |
//! | open | TCP from `open_networks` | everything as a name that belongs to no login |
//! | stranger | TCP from elsewhere | nothing |
//!
//! A name belongs to a login if a login has claimed it, or if it is a login of this machine (`reserve_logins`). A client
//! that may send at all may also send *to* such a name. Names can become logins, be claimed and be released at any
//! time. Requests that take time or have several steps therefore check again before the step that takes effect.

use std::io;

use super::config::Config;
use crate::message::Trust;
use crate::name::Name;
use crate::store::{Store, StoreError};
use crate::sys::clock::unix_millis;
use crate::sys::login::LoginDirectory;
use crate::sys::peer::Peer;
use crate::wire::line::{Declined, Refusal};

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Principal {
    /// A login of this machine, and its uid.
    Login(Name, u32),
    /// Root of this machine, and its login.
    Root(Name),
    /// A uid of this machine that has no login, or one that is not a valid name, or whose name has another uid.
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
    #[error("cannot look up whether {0} is a login: {1}")]
    Login(Name, io::Error),
    #[error("cannot draw a random number: {0}")]
    Random(io::Error),
}

impl Refused {
    /// Returns the refusal to send to the client; `None` for an internal error, whose reason only the log has.
    pub(super) fn declined(&self) -> Option<Declined> {
        let why = match self {
            Self::Denied(declined) => return Some(declined.clone()),
            Self::Login(name, _) => {
                return Some(Declined::with(Refusal::LoginUnknown, name));
            }
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
    pub(super) fn of(peer: Peer, config: &Config, logins: &LoginDirectory) -> Self {
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
                let login = logins.login_of(uid).unwrap_or_else(|e| {
                    log::warn!("cannot look up the login of uid {uid}: {e}");
                    None
                });
                match login.and_then(|login| login.parse().ok()) {
                    Some(name) if uid == 0 => Self::Root(name),
                    Some(name) => Self::Login(name, uid),
                    None => Self::NoLogin(uid),
                }
            }
        }
    }

    /// Returns how far the client's name can be trusted.
    pub(super) fn trust(&self) -> Trust {
        match self {
            Self::Login(..) | Self::Root(_) => Trust::Local,
            Self::NoLogin(_) | Self::Open | Self::Stranger => Trust::Open,
        }
    }

    /// Returns the client's login; `None` if the client must state a name.
    pub(super) fn login(&self) -> Option<&Name> {
        match self {
            Self::Login(name, _) | Self::Root(name) => Some(name),
            Self::NoLogin(_) | Self::Open | Self::Stranger => None,
        }
    }

    /// Returns whether the names that the client may act as are its own. It then takes them over from an earlier client.
    pub(super) fn owns_its_names(&self) -> bool {
        match self {
            Self::Login(..) | Self::Root(_) => true,
            Self::NoLogin(_) | Self::Open | Self::Stranger => false,
        }
    }

    /// Returns whether the client can lose the name that it acts as: to a login that claims it, or with its account.
    pub(super) fn can_lose_its_name(&self) -> bool {
        match self {
            Self::Open | Self::Login(..) => true,
            Self::Root(_) | Self::NoLogin(_) | Self::Stranger => false,
        }
    }

    /// Decides whether the client may do `act`; no other function decides this. A login that begins to act as its name
    /// claims the name. All other acts change nothing, take no lock, and cost at most one file lookup.
    ///
    /// # Errors
    /// [`Refused::Denied`] when the client may not do `act`; errors of the store and of the lookup of logins.
    pub(super) fn may(&self, act: Act<'_>, owners: &Owners<'_>) -> Result<(), Refused> {
        match (self, act) {
            (Self::Stranger, _) => denied(Refusal::AddressNotAllowed.into()),
            (Self::NoLogin(uid), _) => denied(Declined::with(Refusal::NoLogin, uid)),
            (_, Act::Ask) => Ok(()),
            (Self::Login(login, _), Act::As(name)) if login != name => {
                denied(Declined::with(Refusal::NotYourLogin, login))
            }
            (Self::Login(_, uid), Act::As(name)) => owners.claim(name, *uid),
            (Self::Login(_, uid), Act::StillAs(name)) => owners.is_still(name, *uid),
            (Self::Root(login), Act::As(name)) if login == name => owners.claim(name, 0),
            (Self::Root(_), Act::As(_) | Act::StillAs(_)) => Ok(()),
            (Self::Open, Act::As(name) | Act::StillAs(name)) => owners.is_free(name),
        }
    }
}

/// The owners of names: the claims in the store, and the logins of this machine.
#[derive(Clone, Copy)]
pub(super) struct Owners<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) logins: &'a LoginDirectory,
    pub(super) config: &'a Config,
}

impl Owners<'_> {
    /// Claims `name` for the login with this uid, unless the configuration leaves it open.
    fn claim(&self, name: &Name, uid: u32) -> Result<(), Refused> {
        // A claim from a time when the name was not open holds.
        if self.config.open_logins.contains(name) && !self.store.claimed(name)? {
            return Ok(());
        }
        let owner = self.store.claim(name, Some(uid), unix_millis());
        match known_owner(name, owner)?.uid == Some(uid) {
            true => Ok(()),
            false => denied(Declined::with(Refusal::OtherOwner, name)),
        }
    }

    /// Checks that `name` is still the login of this uid, and that this uid is its owner.
    fn is_still(&self, name: &Name, uid: u32) -> Result<(), Refused> {
        if self.uid_of(name)? != Some(uid) {
            return denied(Declined::with(Refusal::NoLogin, uid));
        }
        match known_owner(name, self.store.owner(name))? {
            Some(owner) if owner.uid == Some(uid) => Ok(()),
            Some(_) => denied(Declined::with(Refusal::OtherOwner, name)),
            None if self.config.open_logins.contains(name) => Ok(()),
            None => denied(Declined::with(Refusal::Released, name)),
        }
    }

    /// Checks that `name` belongs to no login.
    fn is_free(&self, name: &Name) -> Result<(), Refused> {
        if self.reserved(name)?.is_some() || self.store.claimed(name)? {
            denied(Declined::with(Refusal::ClaimedName, name))
        } else {
            Ok(())
        }
    }

    /// Claims the name of a recipient that is a login, so that the message is for this account, whichever gets the name
    /// later. A name with a damaged owner record gets messages as well: it is closed to all clients.
    ///
    /// # Errors
    /// Errors of the store and of the lookup of logins.
    pub(super) fn claim_recipient(&self, name: &Name) -> Result<(), Refused> {
        let Some(uid) = self.reserved(name)? else {
            return Ok(());
        };
        match self.store.claim(name, Some(uid), unix_millis()) {
            Ok(_) => Ok(()),
            Err(e @ StoreError::Damaged { .. }) => {
                log::error!("{e}");
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Claims the name of a recipient again, after its message was stored: an operator may have released the name after
    /// [`claim_recipient`](Self::claim_recipient) and before the message was stored. An error is only logged, because the
    /// message is accepted.
    pub(super) fn claim_recipient_again(&self, name: &Name) {
        if let Err(e) = self.claim_recipient(name) {
            log::warn!("cannot record the owner of {name} after a message to it: {e}");
        }
    }

    /// Returns the uid of the login that `name` is reserved for.
    fn reserved(&self, name: &Name) -> Result<Option<u32>, Refused> {
        if !self.config.reserve_logins || self.config.open_logins.contains(name) {
            return Ok(None);
        }
        self.uid_of(name)
    }

    fn uid_of(&self, name: &Name) -> Result<Option<u32>, Refused> {
        let uid = self.logins.uid_of(name.as_str());
        uid.map_err(|e| Refused::Login(name.clone(), e))
    }
}

/// Refuses the client if the owner record of `name` is damaged: the name is closed until the operator names the owner.
fn known_owner<T>(name: &Name, owner: Result<T, StoreError>) -> Result<T, Refused> {
    match owner {
        Err(e @ StoreError::Damaged { .. }) => {
            log::error!("{e}");
            Err(Refused::Denied(Declined::with(Refusal::OtherOwner, name)))
        }
        owner => Ok(owner?),
    }
}

fn denied(declined: Declined) -> Result<(), Refused> {
    Err(Refused::Denied(declined))
}
