//! `ONLINE`, `WHO`, `LOOKUP` and their like: who is there.

use std::net::{IpAddr, SocketAddr};

use super::{GATHER, Session, Stop};
use crate::name::Name;
use crate::server::presence;
use crate::server::who_may::Denied;
use crate::store::{Lease, Speaks, StoreError};
use crate::sys::clock::unix_millis;
use crate::wire::session::{Code, Line};

impl Session<'_, '_> {
    /// Registers the name if need be, and notes where it is. A client that died, or was started anew, takes the
    /// place of its former self when it comes from the same address.
    pub(super) fn online(&mut self, port: u16, addr: Option<IpAddr>) {
        let Some(name) = self.named() else { return };
        let peer = self.talk.peer;
        let told = SocketAddr::new(addr.unwrap_or(peer.ip()), port);
        let Some(address) = presence::seen(told, peer) else {
            let text = format!(
                "addr={} is not an address of the family that you connected with",
                told.ip()
            );
            return self.error(Code::Syntax, text);
        };
        match self.go_online(&name, address) {
            Ok(Err(denied)) => self.deny(&denied),
            Ok(Ok(Some(new))) => Line::begin(&mut self.out, "OK")
                .field("lease", self.talk.config.lease.as_secs())
                .field("new", u8::from(new))
                .end(),
            Ok(Ok(None)) => self.error(
                Code::Busy,
                format!("{name} is online at another address; it is free when that client leaves"),
            ),
            Err(e) => self.fail(&format!("online {name}"), &e),
        }
    }

    /// Whether the name is a new one; `None` when somebody else has it.
    fn go_online(
        &self,
        name: &Name,
        address: SocketAddr,
    ) -> Result<Result<Option<bool>, Denied>, StoreError> {
        let (store, by) = (self.talk.store, self.talk.peer.ip());
        let span = self.talk.config.lease;
        let mut lease = presence::lease(Some(address), Speaks::Datagram, by, span)?;
        let earlier = store.lease(name)?;
        if let Some(same) = earlier.filter(|other| other.address == lease.address) {
            lease.since = same.since;
        }
        match self.talk.take(name, &lease, &|other| other.by == by)? {
            Ok(true) => store.register(name, unix_millis()).map(|new| Ok(Some(new))),
            Ok(false) => Ok(Ok(None)),
            Err(denied) => Ok(Err(denied)),
        }
    }

    /// Keeps the lease.
    pub(super) fn renew(&mut self) {
        let Some(name) = self.named() else { return };
        let (store, by) = (self.talk.store, self.talk.peer.ip());
        let span = self.talk.config.lease;
        let renewed = store.lease(&name).and_then(|lease| match lease {
            Some(lease) if lease.by == by && lease.address.is_some() => {
                let renewed = Lease {
                    until: presence::until(span),
                    ..lease
                };
                self.talk
                    .take(&name, &renewed, &|other| other.token == lease.token)
            }
            _ => Ok(Ok(false)),
        });
        match renewed {
            Err(e) => self.fail(&format!("renew {name}"), &e),
            Ok(Err(denied)) => self.deny(&denied),
            Ok(Ok(true)) => Line::begin(&mut self.out, "OK")
                .field("lease", span.as_secs())
                .end(),
            Ok(Ok(false)) => {
                let text = format!("{name} is not online from here: say ONLINE port=PORT");
                self.error(Code::UnknownUser, text);
            }
        }
    }

    /// Gives the lease back, if it was taken from the same address, and for that port.
    pub(super) fn offline(&mut self, port: Option<u16>) {
        let Some(name) = self.named() else { return };
        let by = self.talk.peer.ip();
        let given = self.talk.store.give_back(&name, &|lease| {
            let there = lease.address.map(|address| address.port());
            lease.by == by && port.is_none_or(|port| there == Some(port))
        });
        match given {
            Ok(_) => Line::begin(&mut self.out, "OK").end(),
            Err(e) => self.fail(&format!("offline {name}"), &e),
        }
    }

    /// Forgets the name. What waits for it stays.
    pub(super) fn deregister(&mut self) {
        let Some(name) = self.named() else { return };
        let store = self.talk.store;
        let done = store
            .deregister(&name)
            .and_then(|was| store.give_back(&name, &|_| true).map(|_| was));
        match done {
            Ok(true) => Line::begin(&mut self.out, "OK").end(),
            Ok(false) => self.error(Code::UnknownUser, format!("{name} is not registered")),
            Err(e) => self.fail(&format!("deregister {name}"), &e),
        }
    }

    /// Who is registered, and whether they are online.
    pub(super) fn who(&mut self, after: Option<&Name>, max: u64) -> Result<(), Stop> {
        let store = self.talk.store;
        let found = store
            .names()
            .and_then(|names| store.online().map(|online| (names, online)));
        let (names, online) = match found {
            Ok(found) => found,
            Err(e) => {
                self.fail("who", &e);
                return Ok(());
            }
        };
        let first = after.map_or(0, |after| names.partition_point(|name| name <= after));
        let rest = &names[first..];
        let shown = rest.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        let mut n = 0;
        for name in &rest[..shown] {
            let since = match store.registered(name) {
                Ok(Some(since)) => since,
                // It was deregistered meanwhile.
                Ok(None) => continue,
                Err(e) => {
                    log::error!("{}: who: {e}", self.talk.peer);
                    continue;
                }
            };
            n += 1;
            let lease = online.binary_search_by(|(other, _)| other.cmp(name));
            let lease = lease.ok().map(|at| online[at].1);
            let mut line = Line::begin(&mut self.out, "USER")
                .field("name", name)
                .field("online", u8::from(lease.is_some()))
                .field("since", since);
            if let Some(lease) = lease {
                line = line.field("online-since", lease.since);
            }
            line.end();
            if self.out.len() >= GATHER {
                self.flush()?;
            }
        }
        Line::begin(&mut self.out, "END")
            .field("n", n)
            .field("more", u8::from(shown < rest.len()))
            .end();
        Ok(())
    }

    /// Where to send an instant message. Somebody whom this client cannot reach is offline to it.
    pub(super) fn lookup(&mut self, name: &Name) {
        let store = self.talk.store;
        let found = store
            .registered(name)
            .and_then(|since| store.lease(name).map(|lease| (since, lease)));
        let (since, lease) = match found {
            Ok(found) => found,
            Err(e) => return self.fail(&format!("lookup {name}"), &e),
        };
        if since.is_none() {
            return self.error(Code::UnknownUser, format!("{name} is not registered"));
        }
        let line = Line::begin(&mut self.out, "OK").field("name", name);
        match (presence::reachable(lease.as_ref(), self.talk.peer), lease) {
            (Some(address), Some(lease)) => line
                .field("online", 1)
                .field("addr", address.ip())
                .field("port", address.port())
                .field("speaks", lease.speaks)
                .end(),
            _ => line.field("online", 0).end(),
        }
    }
}
