//! Who is there, and being there oneself.

use std::net::SocketAddr;
use std::time::Duration;

use super::{DialectChoice, Link, LinkError, MessageSink, PeerAddress, Person, Registered, framed};
use crate::name::Name;

/// What became of a lease that was to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum LeaseState {
    /// It is ours, for so long; `None` when it lasts until it is given back.
    Ours(Option<Duration>),
    /// The name is online at this other address.
    Elsewhere(SocketAddr),
}

/// Whether a server that says `noted` means us, who are at `ours`. It notes the address that it sees, which may
/// be another one of ours than we know.
fn is_ours(noted: SocketAddr, ours: SocketAddr) -> bool {
    let both_are_near = noted.ip().is_loopback() && ours.ip().is_loopback();
    noted.port() == ours.port() && (!both_are_near || noted.ip() == ours.ip())
}

impl Link {
    /// Makes `name` known, and online at this address, if nobody else is that. Whatever waits for it and
    /// comes with the answer goes into `sink`.
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

    /// Takes or keeps the lease: `name` is online at this address. Returns how long that lasts; `None` when
    /// it lasts until it is given back.
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

    /// Where `name` is online, if that is not at this address.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(in crate::client) fn elsewhere(
        &self,
        name: &Name,
        at: SocketAddr,
    ) -> Result<Option<SocketAddr>, LinkError> {
        let found = self.lookup(name, name)?.map(|peer| peer.address);
        Ok(found.filter(|address| !is_ours(*address, at)))
    }

    /// As [`online`](Self::online), unless the name is online at another address.
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

    /// Gives the lease back.
    ///
    /// # Errors
    /// Then it ends by itself.
    pub(in crate::client) fn offline(&self, name: &Name, port: u16) -> Result<(), LinkError> {
        match self.dialect() {
            DialectChoice::Framed => framed::quit(&self.server, name, self.timeouts),
            _ => self.present(Some(name), |session| session.offline(port)),
        }
    }

    /// Forgets the name.
    ///
    /// # Errors
    /// It is not forgotten.
    pub(in crate::client) fn deregister(&self, name: &Name) -> Result<(), LinkError> {
        match self.dialect() {
            DialectChoice::Framed => framed::deregister(&self.server, name, self.timeouts),
            _ => self.present(Some(name), |session| session.deregister()),
        }
    }

    /// Where `name` can be reached at once; `None` when they are not there, nobody knows them, or the
    /// dialect does not say such things in advance.
    ///
    /// # Errors
    /// When the server does not answer.
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

    /// Whether somebody has registered as `name`.
    ///
    /// # Errors
    /// When the server does not answer, or does not know.
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

    /// Everybody who is registered, in the order of the server.
    ///
    /// # Errors
    /// When the server does not answer, or does not know.
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
    fn we_are_where_the_server_sees_us() {
        let a = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert!(is_ours(a("10.0.0.1:5"), a("10.0.0.1:5")));
        // Behind a gate that translates addresses.
        assert!(is_ours(a("10.0.0.1:5"), a("192.168.0.1:5")));
        assert!(is_ours(a("127.0.0.1:5"), a("0.0.0.0:5")));
        assert!(!is_ours(a("127.0.0.1:6"), a("127.0.0.1:5")));
        assert!(!is_ours(a("127.0.0.2:5"), a("127.0.0.1:5")));
    }
}
