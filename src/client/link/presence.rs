//! Presence requests: registration, leases, and the addresses of other users.

use std::net::SocketAddr;
use std::time::Duration;

use super::{
    DialectChoice, LeaseRequest, Link, LinkError, MessageSink, Peer, Person, Registered,
    SealedPeer, framed,
};
use crate::message::LeaseToken;
use crate::name::Name;

/// The state of a lease after a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum LeaseState {
    /// This client holds the lease for the given time; `None` if the lease does not expire.
    Ours(Option<Duration>),
    /// Another client is online with the name.
    Elsewhere,
}

/// Returns whether `peer`, who is online with the name of this client, is another client. `ours` is the address of this
/// one. The server records the IP address that it sees, which may differ from the local one, for instance behind NAT.
fn is_other(peer: &Peer, ours: SocketAddr) -> bool {
    let noted = match peer {
        Peer::Offline => return false,
        Peer::Closed => return true,
        Peer::Text(address) | Peer::Sealed(SealedPeer { address, .. }) => address,
    };
    let both_are_near = noted.ip().is_loopback() && ours.ip().is_loopback();
    noted.port() != ours.port() || (both_are_near && noted.ip() != ours.ip())
}

impl Link {
    /// Finds out whether `name` is new, known, or online with another client than the one at this address. In the framed
    /// dialect, also makes it online there unless it is, and reads the waiting messages into `sink`.
    ///
    /// # Errors
    /// The server does not answer, or refuses the name.
    pub(in crate::client) fn register(
        &self,
        name: &Name,
        at: SocketAddr,
        sink: &mut dyn MessageSink,
    ) -> Result<Registered, LinkError> {
        if self.dialect() == DialectChoice::Framed {
            return framed::register(&self.server, name, at, sink, self.timeouts);
        }
        match self.present(Some(name), |session| session.lookup(name)) {
            Ok(peer) if is_other(&peer, at) => Ok(Registered::Taken),
            Ok(_) => Ok(Registered::Back),
            Err(LinkError::UnknownUser(_)) => Ok(Registered::New),
            Err(e) => Err(e),
        }
    }

    /// Takes the lease that makes `name` online. Returns its duration; `None` if it does not expire.
    ///
    /// # Errors
    /// The name is not online.
    pub(in crate::client) fn online(
        &self,
        name: &Name,
        request: &LeaseRequest<'_>,
    ) -> Result<Option<Duration>, LinkError> {
        if self.dialect() == DialectChoice::Framed {
            return Ok(None);
        }
        self.present(Some(name), |session| {
            (request.announce)(session.connection.is_verified);
            session.online(request)
        })
        .map(Some)
    }

    /// Returns whether another client than the one at this address is online with `name`.
    ///
    /// # Errors
    /// The server does not answer.
    pub(in crate::client) fn is_elsewhere(
        &self,
        name: &Name,
        at: SocketAddr,
    ) -> Result<bool, LinkError> {
        Ok(is_other(&self.lookup(name, name)?, at))
    }

    /// Renews the lease of `name`, or takes it again if it has ended. Leaves the lease of another client alone.
    ///
    /// # Errors
    /// As for [`online`](Self::online).
    pub(in crate::client) fn stay_online(
        &self,
        name: &Name,
        request: &LeaseRequest<'_>,
    ) -> Result<LeaseState, LinkError> {
        if self.dialect() == DialectChoice::Framed {
            return Ok(LeaseState::Ours(None));
        }
        self.present(Some(name), |session| {
            (request.announce)(session.connection.is_verified);
            match session.renew(request.token, request.secret) {
                Err(LinkError::UnknownUser(_)) => {}
                renewed => return renewed.map(|lease| LeaseState::Ours(Some(lease))),
            }
            match session.lookup(name) {
                Ok(peer) if is_other(&peer, request.at) => Ok(LeaseState::Elsewhere),
                Ok(_) | Err(LinkError::UnknownUser(_)) => session
                    .online(request)
                    .map(|lease| LeaseState::Ours(Some(lease))),
                Err(e) => Err(e),
            }
        })
    }

    /// Releases the lease with this token. The framed dialect has no tokens.
    ///
    /// # Errors
    /// The lease remains until it expires.
    pub(in crate::client) fn offline(
        &self,
        name: &Name,
        token: Option<LeaseToken>,
    ) -> Result<(), LinkError> {
        match self.dialect() {
            DialectChoice::Framed => framed::quit(&self.server, name, self.timeouts),
            _ => self.present(Some(name), |session| session.offline(token)),
        }
    }

    /// Deregisters the name.
    ///
    /// # Errors
    /// The name may still be registered.
    pub(in crate::client) fn deregister(&self, name: &Name) -> Result<(), LinkError> {
        match self.dialect() {
            DialectChoice::Framed => framed::deregister(&self.server, name, self.timeouts),
            _ => self.present(Some(name), |session| session.deregister()),
        }
    }

    /// Returns where `name` is online. An unknown name is offline, and so is each in a dialect without this request.
    ///
    /// # Errors
    /// The server does not answer.
    pub(in crate::client) fn lookup(&self, me: &Name, name: &Name) -> Result<Peer, LinkError> {
        match self.in_session(Some(me), |session| session.lookup(name)) {
            Err(LinkError::UnknownUser(_)) => Ok(Peer::Offline),
            found => Ok(found?.unwrap_or(Peer::Offline)),
        }
    }

    /// Returns whether `name` is registered.
    ///
    /// # Errors
    /// The server does not answer, or the dialect has no presence.
    pub(in crate::client) fn is_registered(
        &self,
        me: &Name,
        name: &Name,
    ) -> Result<bool, LinkError> {
        match self.present(Some(me), |session| session.lookup(name)) {
            Err(LinkError::UnknownUser(_)) => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// Returns the registered users, in the order of the server.
    ///
    /// # Errors
    /// The server does not answer, or the dialect has no presence.
    pub(in crate::client) fn who(&self, me: Option<&Name>) -> Result<Vec<Person>, LinkError> {
        match self.dialect() {
            DialectChoice::Framed => framed::who(&self.server, self.timeouts),
            _ => self.present(me, |session| session.who()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_the_address_that_the_server_has_recorded() {
        let a = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let is_other = |noted, ours| is_other(&Peer::Text(a(noted)), a(ours));
        assert!(!is_other("10.0.0.1:5", "10.0.0.1:5"));
        // Behind NAT.
        assert!(!is_other("10.0.0.1:5", "192.168.0.1:5"));
        assert!(!is_other("127.0.0.1:5", "0.0.0.0:5"));
        assert!(is_other("127.0.0.1:6", "127.0.0.1:5"));
        assert!(is_other("127.0.0.2:5", "127.0.0.1:5"));
    }
}
