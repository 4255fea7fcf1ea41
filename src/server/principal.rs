//! Who a client is, how that is known, and what it may do.
//!
//! | principal | how it is known | may |
//! |---|---|---|
//! | login | Unix socket: the kernel reports the uid, whose login has the same uid | everything as its login name; the first use claims the name |
//! | root | Unix socket, uid 0 | everything as any name; claims only the name of its login |
//! | no login | Unix socket, any other uid | nothing |
//! | unknown | Unix socket, a uid whose login cannot be looked up | nothing, for now |
//! | socket | a `[[socket]]` of the configuration, any uid | everything as the name of the socket; the first use claims the name |
//! | open | TCP from `open_networks` | everything as a name that belongs to no login |
//! | stranger | TCP from elsewhere | nothing |
//!
//! `owners` decides who owns a name. A client that may send at all may also send *to* a name that belongs to another.
//! Names can become logins, be claimed and be released at any time. Requests that take time or have several steps
//! therefore check again before the step that takes effect.

use super::config::Config;
use super::owners::denied;
pub(super) use super::owners::{Owners, Refused};
use crate::message::Trust;
use crate::name::Name;
use crate::store::Rank;
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
    /// A uid of this machine whose login is not known at this time.
    Unknown(u32),
    /// A client of a socket whose clients have this name. The configuration vouches for it.
    Socket(Name),
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
            Peer::Named { socket, uid, .. } => match config.socket.get(socket) {
                Some(entry) => Self::Socket(entry.name.clone()),
                None => Self::NoLogin(uid),
            },
            Peer::Local { uid, .. } => match logins.login_of(uid) {
                Ok(login) => match login.and_then(|login| login.parse().ok()) {
                    Some(name) if uid == 0 => Self::Root(name),
                    Some(name) => Self::Login(name, uid),
                    None => Self::NoLogin(uid),
                },
                Err(e) => {
                    log::warn!("cannot look up the login of uid {uid}: {e}");
                    Self::Unknown(uid)
                }
            },
        }
    }

    /// Returns how far the client's name can be trusted.
    pub(super) fn trust(&self) -> Trust {
        match self {
            Self::Login(..) | Self::Root(_) | Self::Socket(_) => Trust::Local,
            Self::NoLogin(_) | Self::Unknown(_) | Self::Open | Self::Stranger => Trust::Open,
        }
    }

    /// Returns how much of what is shared the client may use up.
    pub(super) fn rank(&self) -> Rank {
        match self {
            Self::Root(_) => Rank::Root,
            Self::Login(..) | Self::Socket(_) => Rank::Verified,
            Self::NoLogin(_) | Self::Unknown(_) | Self::Open | Self::Stranger => Rank::Open,
        }
    }

    /// Returns the client's login, or the name of its socket; `None` if the client must state a name.
    pub(super) fn login(&self) -> Option<&Name> {
        match self {
            Self::Login(name, _) | Self::Root(name) | Self::Socket(name) => Some(name),
            Self::NoLogin(_) | Self::Unknown(_) | Self::Open | Self::Stranger => None,
        }
    }

    /// Returns whether the names that the client may act as are its own. It then takes them over from an earlier
    /// client.
    pub(super) fn owns_its_names(&self) -> bool {
        match self {
            Self::Login(..) | Self::Root(_) | Self::Socket(..) => true,
            Self::NoLogin(_) | Self::Unknown(_) | Self::Open | Self::Stranger => false,
        }
    }

    /// Returns whether the client can lose the name that it acts as: to a login that claims it, to a new configuration,
    /// or with its account.
    pub(super) fn can_lose_its_name(&self) -> bool {
        match self {
            Self::Open | Self::Login(..) | Self::Socket(_) => true,
            Self::Root(_) | Self::NoLogin(_) | Self::Unknown(_) | Self::Stranger => false,
        }
    }

    /// Returns whether the owner record of `name` keeps the client out. Asks no directory, which could take long: for
    /// use under the lock of a mailbox. Errors keep the client out.
    pub(super) fn is_barred(&self, name: &Name, owners: &Owners<'_>) -> bool {
        match self {
            Self::Login(_, uid) => owners.has_other(name, *uid).unwrap_or(true),
            Self::Root(_) | Self::Socket(_) => false,
            Self::NoLogin(_) | Self::Unknown(_) | Self::Open | Self::Stranger => {
                owners.store.claimed(name).unwrap_or(true)
            }
        }
    }

    /// Decides whether the client may do `act`; no other function decides this. A login that begins to act as its name,
    /// or a client of a socket as that of the socket, claims the name. All other acts change nothing, take no lock, and
    /// cost at most one file lookup.
    ///
    /// # Errors
    /// [`Refused::Denied`] when the client may not do `act`; errors of the store and of the lookup of logins.
    pub(super) fn may(&self, act: Act<'_>, owners: &Owners<'_>) -> Result<(), Refused> {
        match (self, act) {
            (Self::Stranger, _) => denied(Refusal::AddressNotAllowed),
            (Self::NoLogin(uid), _) => denied(Declined::with(Refusal::NoLogin, uid)),
            (Self::Unknown(uid), _) => {
                let who = format_args!("user number {uid}");
                denied(Declined::with(Refusal::LoginUnknown, who))
            }
            (Self::Open, Act::Ask) => owners.is_current(),
            (_, Act::Ask) => Ok(()),
            (Self::Login(own, _) | Self::Socket(own), Act::As(name)) if own != name => {
                denied(Declined::with(Refusal::NotYourLogin, own))
            }
            (Self::Login(_, uid), Act::As(name)) => {
                // The account may have changed since the connection was made.
                owners.is_login(name, *uid)?;
                owners.claim(name, Some(*uid))
            }
            (Self::Login(_, uid), Act::StillAs(name)) => owners.is_still(name, *uid),
            (Self::Socket(_), Act::As(name)) => owners.claim_for_socket(name),
            (Self::Root(login), Act::As(name)) if login == name => owners.claim(name, Some(0)),
            (Self::Socket(_), Act::StillAs(name)) => owners.is_still_of_socket(name),
            (Self::Root(_), Act::As(_) | Act::StillAs(_)) => Ok(()),
            (Self::Open, Act::As(name) | Act::StillAs(name)) => owners.is_free(name),
        }
    }
}
