//! Who may do what.
//!
//! | how one comes | who one is | may |
//! |---|---|---|
//! | the Unix socket | one's login, which the kernel has verified | everything as oneself; root, as anybody |
//! | TCP from `open_networks` | whatever one says | everything for names that nobody has claimed |
//! | TCP from elsewhere | nobody | nothing |
//!
//! A name is claimed by its first use over the Unix socket. To a claimed name anybody may send. Whoever acted as it
//! over TCP until then does no more: all that takes time, or has several steps, asks again before the step that
//! counts.

use std::fmt;

use super::config::Config;
use crate::message::Trust;
use crate::name::Name;
use crate::store::{StoreError, Users};
use crate::sys::clock::unix_millis;
use crate::sys::login;
use crate::sys::peer::Peer;

/// How somebody came to us, which decides what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Plain TCP from an open network: whoever they say, and nobody can be sure.
    Open,
    /// Plain TCP from elsewhere: nobody.
    Nobody,
    /// A login of this machine.
    Login(Name),
    /// Root of this machine.
    Root(Name),
    /// A user of this machine whose login is no name, or who has none.
    NoLogin(u32),
}

/// Why somebody may not do something.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// They come from outside the open networks.
    NotFromHere,
    /// Their login cannot be a name.
    NoLogin(u32),
    /// Over the socket one is oneself.
    NotYou(Name),
    /// The name belongs to a login of this machine.
    Claimed(Name),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFromHere => f.write_str(
                "Not allowed from this address: the server's open_networks does not include it",
            ),
            Self::NoLogin(uid) => write!(
                f,
                "Not allowed: user number {uid} has no login that could be a name here"
            ),
            Self::NotYou(login) => write!(
                f,
                "Not allowed: over this socket you are {login}; use TCP for another name"
            ),
            Self::Claimed(name) => write!(
                f,
                "Not allowed: {name} belongs to a login of the server's machine, who uses its socket there"
            ),
        }
    }
}

impl Standing {
    /// The standing of a client that comes from `peer`.
    pub(super) fn of(peer: Peer, config: &Config) -> Self {
        match peer {
            Peer::Inet(address) => {
                let ip = address.ip().to_canonical();
                if config.open_networks.iter().any(|net| net.contains(&ip)) {
                    Self::Open
                } else {
                    Self::Nobody
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

    /// How far their name can be believed.
    pub(super) fn trust(&self) -> Trust {
        match self {
            Self::Login(_) | Self::Root(_) => Trust::Local,
            Self::Open | Self::Nobody | Self::NoLogin(_) => Trust::Open,
        }
    }

    /// The name that they have without saying it.
    pub(super) fn login(&self) -> Option<&Name> {
        match self {
            Self::Login(name) | Self::Root(name) => Some(name),
            Self::Open | Self::Nobody | Self::NoLogin(_) => None,
        }
    }

    /// Whether they may ask for anything at all.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_come(&self) -> Result<(), Denied> {
        match self {
            Self::Nobody => Err(Denied::NotFromHere),
            Self::NoLogin(uid) => Err(Denied::NoLogin(*uid)),
            Self::Open | Self::Login(_) | Self::Root(_) => Ok(()),
        }
    }

    /// Whether they may act as `name`: send from it, read its mailbox, go online with it. A login that does so
    /// for the first time has it from then on.
    ///
    /// # Errors
    /// Why not; those of the store.
    pub(super) fn may_be(
        &self,
        name: &Name,
        users: &(impl Users + ?Sized),
    ) -> Result<Result<(), Denied>, StoreError> {
        if let Err(denied) = self.may_come() {
            return Ok(Err(denied));
        }
        match self {
            Self::Login(login) | Self::Root(login) if login == name => {
                users.claim(name, unix_millis())?;
                Ok(Ok(()))
            }
            Self::Login(login) => Ok(Err(Denied::NotYou(login.clone()))),
            Self::Open | Self::Root(_) | Self::Nobody | Self::NoLogin(_) => {
                self.may_still_be(name, users)
            }
        }
    }

    /// Whether they may go on as `name`, which [`may_be`](Self::may_be) has let them: a login may have claimed it
    /// since. One look for a file, and that for plain TCP only; it takes no lock.
    ///
    /// # Errors
    /// Why not; those of the store.
    pub(super) fn may_still_be(
        &self,
        name: &Name,
        users: &(impl Users + ?Sized),
    ) -> Result<Result<(), Denied>, StoreError> {
        Ok(match self {
            Self::Open if users.claimed(name)? => Err(Denied::Claimed(name.clone())),
            _ => Ok(()),
        })
    }
}
