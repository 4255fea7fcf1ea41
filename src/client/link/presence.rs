//! Presence requests: registration, leases, and the addresses of other users.

use std::net::SocketAddr;
use std::time::Duration;

use super::{DialectChoice, Link, LinkError, MessageSink, PeerAddress, Person, Registered, framed};
use crate::name::Name;

/// The state of a lease after a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum LeaseState {
    /// This client holds the lease for the given time; `None` if the lease does not expire.
    Ours(Option<Duration>),
    /// Another client is online with the name, at this address.
    Elsewhere(SocketAddr),
}

/// Returns whether `noted`, the address that the server has recorded, is this client's own, `ours`. The server records
/// the IP address that it sees, which may differ from the local one, for instance behind NAT.
fn is_ours(noted: SocketAddr, ours: SocketAddr) -> bool {
    let both_are_near = noted.ip().is_loopback() && ours.ip().is_loopback();
    noted.port() == ours.port() && (!both_are_near || noted.ip() == ours.ip())
}

impl Link {
    /// Registers `name` and makes it online at this address, unless another client is online with it. In the framed
    /// dialect, reads the waiting messages into `sink`.
    ///
    /// # Errors
    /// The name is not online.
    pub(in crate::client) fn register(
        &self,
        name: &Name,
        at: SocketAddr,
        sink: &mut dyn MessageSink,
    ) -> Result<Registered, LinkError> {
        if self.dialect() == DialectChoice::Framed {
            return framed::register(&self.server, name, at, sink, self.timeouts);
        }
        self.present(Some(name), |session| {
            let found = match session.lookup(name) {
                Ok(Some(peer)) if !is_ours(peer.address, at) => return Ok(Registered::Taken),
                Ok(_) => Registered::Back,
                Err(LinkError::UnknownUser(_)) => Registered::New,
                Err(e) => return Err(e),
            };
            session.online(at)?;
            Ok(found)
        })
    }

    /// Takes or renews the lease that makes `name` online at this address. Returns its duration; `None` if it does not
    /// expire.
    ///
    /// # Errors
    /// The name is not online.
    pub(in crate::client) fn online(
        &self,
        name: &Name,
        at: SocketAddr,
    ) -> Result<Option<Duration>, LinkError> {
        if self.dialect() == DialectChoice::Framed {
            return Ok(None);
        }
        self.present(Some(name), |session| session.online(at))
            .map(Some)
    }

    /// Returns the address at which `name` is online, unless it is `at`.
    ///
    /// # Errors
    /// The server does not answer.
    pub(in crate::client) fn elsewhere(
        &self,
        name: &Name,
        at: SocketAddr,
    ) -> Result<Option<SocketAddr>, LinkError> {
        let found = self.lookup(name, name)?.map(|peer| peer.address);
        Ok(found.filter(|address| !is_ours(*address, at)))
    }

    /// As [`online`](Self::online), but leaves the lease of another client alone.
    ///
    /// # Errors
    /// As for [`online`](Self::online).
    pub(in crate::client) fn stay_online(
        &self,
        name: &Name,
        at: SocketAddr,
    ) -> Result<LeaseState, LinkError> {
        if self.dialect() == DialectChoice::Framed {
            return Ok(LeaseState::Ours(None));
        }
        self.present(Some(name), |session| match session.lookup(name) {
            Ok(Some(peer)) if !is_ours(peer.address, at) => Ok(LeaseState::Elsewhere(peer.address)),
            Ok(_) | Err(LinkError::UnknownUser(_)) => session
                .online(at)
                .map(|lease| LeaseState::Ours(Some(lease))),
            Err(e) => Err(e),
        })
    }

    /// Releases the lease.
    ///
    /// # Errors
    /// The lease remains until it expires.
    pub(in crate::client) fn offline(&self, name: &Name, port: u16) -> Result<(), LinkError> {
        match self.dialect() {
            DialectChoice::Framed => framed::quit(&self.server, name, self.timeouts),
            _ => self.present(Some(name), |session| session.offline(port)),
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

    /// Returns the address of `name`; `None` if the name is offline or unknown, or the dialect has no such request.
    ///
    /// # Errors
    /// The server does not answer.
    pub(in crate::client) fn lookup(
        &self,
        me: &Name,
        name: &Name,
    ) -> Result<Option<PeerAddress>, LinkError> {
        match self.in_session(Some(me), |session| session.lookup(name)) {
            Err(LinkError::UnknownUser(_)) => Ok(None),
            found => found.map(Option::flatten),
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
        assert!(is_ours(a("10.0.0.1:5"), a("10.0.0.1:5")));
        // Behind NAT.
        assert!(is_ours(a("10.0.0.1:5"), a("192.168.0.1:5")));
        assert!(is_ours(a("127.0.0.1:5"), a("0.0.0.0:5")));
        assert!(!is_ours(a("127.0.0.1:6"), a("127.0.0.1:5")));
        assert!(!is_ours(a("127.0.0.2:5"), a("127.0.0.1:5")));
    }
}
