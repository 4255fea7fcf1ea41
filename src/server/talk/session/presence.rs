//! `ONLINE`, `RENEW`, `OFFLINE`, `DEREGISTER`, `WHO` and `LOOKUP`: registration and presence of users.

use std::net::{IpAddr, SocketAddr};

use super::state::{Session, SessionError};
use crate::message::{LeaseToken, Speaks, TicketSecret};
use crate::name::Name;
use crate::server::owners::Refused;
use crate::server::talk::conversation::GATHER;
use crate::server::talk::lease;
use crate::store::Lease;
use crate::sys::random;
use crate::wire::code::Code;
use crate::wire::datagram::{Ticket, TicketKey, TicketNonce};
use crate::wire::session::{AnswerLine, Location, encode_end, encode_location, encode_user};

impl Session<'_, '_> {
    /// Registers the name if it is new, and records its address. The owner of the name takes it over from an earlier
    /// client. For other names, only a client from the same IP address does, because it may be the same, restarted.
    pub(super) fn online(
        &mut self,
        port: u16,
        addr: Option<IpAddr>,
        token: Option<LeaseToken>,
        secret: Option<TicketSecret>,
    ) -> Result<(), SessionError> {
        let name = self.named()?;
        let peer = self.talk.peer;
        let told = SocketAddr::new(addr.unwrap_or(peer.ip()), port);
        let Some(address) = lease::seen(told, peer) else {
            let ip = told.ip();
            let text = format!("addr={ip} is not an address of the family that you connected with");
            return Err(self.error(Code::Syntax, text));
        };
        let online = self.go_online(&name, address, token, secret);
        let Some(new) = online.map_err(|e| self.refuse(&format!("online {name}"), e))? else {
            let text =
                format!("{name} is online at another address; it is free when that client leaves");
            return Err(self.error(Code::Busy, text));
        };
        AnswerLine::begin(&mut self.out, "OK")
            .field("lease", self.talk.config.lease.as_secs())
            .field("new", u8::from(new))
            .end();
        Ok(())
    }

    /// Returns whether the name is new; `None` when another client holds its lease.
    fn go_online(
        &self,
        name: &Name,
        address: SocketAddr,
        token: Option<LeaseToken>,
        secret: Option<TicketSecret>,
    ) -> Result<Option<bool>, Refused> {
        let (store, by) = (self.talk.store, self.talk.peer.ip());
        let span = self.talk.config.lease;
        let mut lease = lease::new(Some(address), Speaks::Sealed, by, span)?;
        lease.token = token.unwrap_or(lease.token);
        lease.secret = secret;
        let earlier = store.lease(name)?;
        if let Some(same) = earlier.filter(|other| other.address == lease.address) {
            lease.since = same.since;
        }
        let is_owner = self.talk.principal.owns_its_names();
        let may_replace = |other: &Lease| is_owner || other.by == by;
        if !self.talk.take_lease(name, &lease, &may_replace)? {
            return Ok(None);
        }
        Ok(Some(self.talk.register(name)?))
    }

    pub(super) fn renew(
        &mut self,
        token: Option<LeaseToken>,
        secret: Option<TicketSecret>,
    ) -> Result<(), SessionError> {
        let name = self.named()?;
        let renewed = self.renewed(&name, token, secret);
        if !renewed.map_err(|e| self.refuse(&format!("renew {name}"), e))? {
            let text = format!("{name} is not online from here: say ONLINE port=PORT");
            return Err(self.error(Code::UnknownUser, text));
        }
        AnswerLine::begin(&mut self.out, "OK")
            .field("lease", self.talk.config.lease.as_secs())
            .end();
        Ok(())
    }

    /// Renews the lease and returns whether this client had one.
    fn renewed(
        &self,
        name: &Name,
        token: Option<LeaseToken>,
        secret: Option<TicketSecret>,
    ) -> Result<bool, Refused> {
        let lease = self.talk.store.lease(name)?;
        let is_ours = |lease: &Lease| self.is_ours(lease, token) && lease.address.is_some();
        let Some(lease) = lease.filter(is_ours) else {
            return Ok(false);
        };
        let renewed = Lease {
            until: lease::until(self.talk.config.lease),
            secret: secret.or(lease.secret),
            ..lease
        };
        let same = |other: &Lease| other.token == lease.token;
        self.talk.take_lease(name, &renewed, &same)
    }

    /// Returns whether this client has taken the lease: its token proves that, or without one the IP address.
    fn is_ours(&self, lease: &Lease, token: Option<LeaseToken>) -> bool {
        match token {
            Some(token) => lease.token == token,
            // A client with a secret has chosen a token as well.
            None => lease.secret.is_none() && lease.by == self.talk.peer.ip(),
        }
    }

    /// Ends the lease that this client has taken.
    pub(super) fn offline(&mut self, token: Option<LeaseToken>) -> Result<(), SessionError> {
        let name = self.named()?;
        let given = self
            .talk
            .store
            .give_back(&name, &|lease| self.is_ours(lease, token));
        given.map_err(|e| self.refuse(&format!("offline {name}"), e))?;
        self.ok()
    }

    /// Removes the registration of the name. Its waiting messages stay.
    pub(super) fn deregister(&mut self) -> Result<(), SessionError> {
        let name = self.named()?;
        let store = self.talk.store;
        let was = store
            .deregister(&name)
            .and_then(|was| store.give_back(&name, &|_| true).map(|_| was));
        if !was.map_err(|e| self.refuse(&format!("deregister {name}"), e))? {
            return Err(self.error(Code::UnknownUser, format!("{name} is not registered")));
        }
        self.ok()
    }

    /// Lists the registered names, and whether they are online.
    pub(super) fn who(&mut self, after: Option<&Name>, max: u64) -> Result<(), SessionError> {
        let store = self.talk.store;
        let (mut n, mut more, mut sent) = (0, false, Ok(()));
        let listed = store.registrations(after, &mut |name, since| {
            if n == max {
                more = true;
                return false;
            }
            n += 1;
            let lease = store.lease(name).unwrap_or_else(|e| {
                log::error!("{}: who: {e}", self.talk.peer);
                None
            });
            let lease = lease.filter(|lease| lease.address.is_some());
            encode_user(&mut self.out, name, since, lease.map(|lease| lease.since));
            if self.out.len() >= GATHER {
                sent = self.flush();
            }
            sent.is_ok()
        });
        sent?;
        listed.map_err(|e| self.refuse("who", e))?;
        encode_end(&mut self.out, n, more, None);
        Ok(())
    }

    /// Reports where to send an instant message. A recipient that this client cannot reach is reported as offline.
    pub(super) fn lookup(&mut self, name: &Name) -> Result<(), SessionError> {
        let store = self.talk.store;
        // A claim ends the presence of another client that has used the name of a login.
        let claimed = self.talk.owners.claim_recipient(name);
        claimed.map_err(|e| self.refuse(&format!("lookup {name}"), e))?;
        let found = store
            .registered(name)
            .and_then(|since| store.lease(name).map(|lease| (since, lease)));
        let (since, lease) = found.map_err(|e| self.refuse(&format!("lookup {name}"), e))?;
        if since.is_none() {
            return Err(self.error(Code::UnknownUser, format!("{name} is not registered")));
        }
        let location = match lease::reachable(lease.as_ref(), self.talk.peer).zip(lease) {
            None => Location::Offline,
            Some((address, lease)) if lease.speaks == Speaks::Text => Location::Text(address),
            Some((address, lease)) => match self.ticket(name, &lease) {
                Ok(Some(ticket)) => Location::Sealed(address, ticket),
                Ok(None) => Location::Closed,
                Err(e) => return Err(self.refuse(&format!("lookup {name}"), e)),
            },
        };
        encode_location(&mut self.out, name, &location);
        Ok(())
    }

    /// Issues a ticket for one message to the holder of this lease. `None` if the holder takes none, or if this client
    /// has no name.
    fn ticket(&self, to: &Name, lease: &Lease) -> Result<Option<Ticket>, Refused> {
        let (Some(secret), Some(from)) = (&lease.secret, &self.name) else {
            return Ok(None);
        };
        let nonce = TicketNonce(random::array().map_err(Refused::Random)?);
        let trust = self.talk.principal.trust();
        let key = TicketKey::derive(secret, nonce, trust, from, to);
        Ok(Some(Ticket { nonce, key }))
    }
}
