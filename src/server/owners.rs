//! The owners of names: the claims in the store, the logins of this machine, and the sockets with a name.
//!
//! A name is closed to TCP clients if it has an owner record, if it is a login of this machine (`reserve_logins`), or
//! if a `[[socket]]` of the configuration has it.

use std::io;

use super::access::Access;
use super::config::Config;
use crate::name::Name;
use crate::store::{Owner, Store, StoreError};
use crate::sys::clock::unix_millis;
use crate::sys::login::LoginDirectory;
use crate::wire::line::{Declined, Refusal};

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
            Self::Store(StoreError::Budget(key)) => {
                return Some(Declined::with(Refusal::OpenLimit, key));
            }
            Self::Store(StoreError::Busy) => Refusal::Busy,
            Self::Store(StoreError::DiskFull(_)) => Refusal::DiskFull,
            Self::Store(StoreError::FileLimit(_)) => Refusal::FileLimit,
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

/// Returns the error of a client that may not do what it asks for.
pub(super) fn denied(declined: impl Into<Declined>) -> Result<(), Refused> {
    Err(Refused::Denied(declined.into()))
}

/// What decides about the owners of names.
#[derive(Clone, Copy)]
pub(super) struct Owners<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) logins: &'a LoginDirectory,
    pub(super) config: &'a Config,
    pub(super) access: Access,
}

/// Whose a name is, although it may have no owner record yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder {
    /// The uid of the login; `None` for a name of a socket that is no login.
    uid: Option<u32>,
}

impl Owners<'_> {
    /// Claims `name` for the login with this uid, or for the clients of a socket with this name if it is no login. A
    /// name that the configuration leaves open is not claimed.
    pub(super) fn claim(&self, name: &Name, uid: Option<u32>) -> Result<(), Refused> {
        // A claim from a time when the name was not open holds.
        if self.config.open_logins.contains(name) && !self.store.claimed(name)? {
            return Ok(());
        }
        match known_owner(name, self.record(name, uid))?.uid == uid {
            true => Ok(()),
            false => denied(Declined::with(Refusal::OtherOwner, name)),
        }
    }

    /// Claims `name` for the clients of the socket that has this name. If it is a login, this is one owner. Without an
    /// answer of the directory, a name that has an owner record stays with the socket.
    pub(super) fn claim_for_socket(&self, name: &Name) -> Result<(), Refused> {
        match self.uid_of(name) {
            Ok(uid) => self.claim(name, uid),
            Err(Refused::Login(..)) if self.store.claimed(name)? => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Checks that `name` is the login of this uid.
    pub(super) fn is_login(&self, name: &Name, uid: u32) -> Result<(), Refused> {
        let login = self.logins.login_of(uid);
        let login = login.map_err(|e| Refused::Login(name.clone(), e))?;
        match login.as_deref() == Some(name.as_str()) {
            true => Ok(()),
            false => denied(Declined::with(Refusal::NoLogin, uid)),
        }
    }

    /// Returns whether `name` has another recorded owner than the login with this uid.
    pub(super) fn has_other(&self, name: &Name, uid: u32) -> Result<bool, StoreError> {
        let owner = self.store.owner(name)?;
        Ok(owner.is_some_and(|owner| owner.uid != Some(uid)))
    }

    /// Checks that `name` is still the login of this uid, and that this uid is its owner.
    pub(super) fn is_still(&self, name: &Name, uid: u32) -> Result<(), Refused> {
        self.is_login(name, uid)?;
        match known_owner(name, self.store.owner(name))? {
            Some(owner) if owner.uid == Some(uid) => Ok(()),
            Some(_) => denied(Declined::with(Refusal::OtherOwner, name)),
            None if self.config.open_logins.contains(name) => Ok(()),
            None => denied(Declined::with(Refusal::Released, name)),
        }
    }

    /// Checks that the operator has not released `name`, which the client's socket has.
    pub(super) fn is_still_of_socket(&self, name: &Name) -> Result<(), Refused> {
        match self.store.claimed(name)? {
            true => Ok(()),
            false => denied(Declined::with(Refusal::Released, name)),
        }
    }

    /// Checks that the configuration still allows what it allowed when the connection was made.
    pub(super) fn is_current(&self) -> Result<(), Refused> {
        match self.access.is_current() {
            true => Ok(()),
            false => denied(Refusal::Reconfigured),
        }
    }

    /// Checks that `name` is open to TCP clients.
    pub(super) fn is_free(&self, name: &Name) -> Result<(), Refused> {
        self.is_current()?;
        if self.store.claimed(name)? {
            return denied(Declined::with(Refusal::ClaimedName, name));
        }
        match self.holder(name)? {
            None => Ok(()),
            Some(_) => {
                self.report(name);
                denied(Declined::with(Refusal::ClaimedName, name))
            }
        }
    }

    /// Claims the name of a recipient that is a login, so that the message is for this account, whichever gets the name
    /// later. If it is not known whether it is a login, the message waits, and the name is closed until it is known. A
    /// name with a damaged owner record gets messages as well: it is closed to all clients. Returns whose the name is.
    ///
    /// # Errors
    /// Errors of the store.
    pub(super) fn claim_recipient(&self, name: &Name) -> Result<Option<Holder>, Refused> {
        let holder = match self.holder(name) {
            Ok(Some(holder)) => holder,
            Ok(None) | Err(Refused::Login(..)) => return Ok(None),
            Err(e) => return Err(e),
        };
        match self.record(name, holder.uid) {
            Ok(_) => {}
            Err(e @ StoreError::Damaged { .. }) => log::error!("{e}"),
            Err(e) => return Err(e.into()),
        }
        Ok(Some(holder))
    }

    /// Claims the name of a recipient again, after its message was stored: an operator may have released the name after
    /// [`claim_recipient`](Self::claim_recipient), which has returned `holder`, and before the message was stored. An
    /// error is only logged, because the message is accepted.
    pub(super) fn claim_recipient_again(&self, name: &Name, holder: Option<Holder>) {
        if let Some(Holder { uid }) = holder
            && let Err(e) = self.record(name, uid)
        {
            log::warn!("cannot record the owner of {name} after a message to it: {e}");
        }
    }

    /// Makes the owner record of `name`, unless it has one. Returns the owner.
    fn record(&self, name: &Name, uid: Option<u32>) -> Result<Owner, StoreError> {
        let now = unix_millis();
        let owner = self.store.claim(name, uid, now)?;
        if owner.since == now {
            self.report(name);
        }
        Ok(owner)
    }

    /// Returns whose `name` is by the configuration and the logins of this machine; `None` if it is open.
    ///
    /// # Errors
    /// Errors of the store and of the lookup of logins.
    fn holder(&self, name: &Name) -> Result<Option<Holder>, Refused> {
        let has_socket = self.config.socket.iter().any(|entry| entry.name == *name);
        if !has_socket && !self.config.reserves(name) {
            return Ok(None);
        }
        let uid = match self.uid_of(name) {
            // The names that TCP clients use stay open until it is known that they are logins.
            Err(Refused::Login(..)) if !has_socket && self.store.in_open_use(name)? => None,
            uid => uid?,
        };
        Ok((has_socket || uid.is_some()).then_some(Holder { uid }))
    }

    fn uid_of(&self, name: &Name) -> Result<Option<u32>, Refused> {
        let uid = self.logins.uid_of(name.as_str());
        uid.map_err(|e| Refused::Login(name.clone(), e))
    }

    /// Keeps the canaries in the store if a lookup has changed them.
    pub(super) fn keep_canaries(&self) {
        let Some(names) = self.logins.changed_canaries() else {
            return;
        };
        let names: Vec<Name> = names.iter().filter_map(|name| name.parse().ok()).collect();
        if let Err(e) = self.store.keep_canaries(&names) {
            log::warn!(
                "cannot keep the names of logins that show whether the directory answers: {e}; \
                 after a restart, a directory that is away may go unnoticed"
            );
        }
    }

    /// Logs that `name` is closed, once.
    fn report(&self, name: &Name) {
        if self.access.is_first_report(name) {
            log::info!("{name} is closed to TCP clients: it belongs to a login or a socket");
        }
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
