//! The session dialect: message ids, acknowledgements, unchanged bodies, and presence.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::time::Duration;

use super::server::{ServerConnection, Timeouts};
use super::{LeaseRequest, LinkError, MessagePiece, MessageSink, Peer, Person, SealedPeer, Server};
use crate::config::DEFAULTS;
use crate::message::{LeaseToken, TicketSecret, Trust};
use crate::name::Name;
use crate::wire::datagram::Letter;
use crate::wire::line::{Declined, Refusal};
use crate::wire::session::{
    Answer, AnswerFields, Location, Request, VERSION, decode_answer, encode_request,
};

/// How many names are fetched at a time.
const NAMES: u64 = 1_000;
/// The lease that is assumed if the server does not report one.
const LEASE: Duration = Duration::from_secs(DEFAULTS.lease);

/// An open session.
#[derive(Debug)]
pub(super) struct SessionConnection<'s> {
    pub(super) server: &'s Server,
    pub(super) connection: ServerConnection,
    received: Vec<u8>,
    /// Whether the server has accepted the session dialect.
    is_known: bool,
    /// How far the server trusts this client, in a kind that this version supports.
    trust: Option<Trust>,
}

impl<'s> SessionConnection<'s> {
    /// Opens a session as `name`, or without a name.
    ///
    /// # Errors
    /// [`LinkError::NoSession`] if the server supports only the line dialect.
    pub(super) fn open(
        server: &'s Server,
        name: Option<&Name>,
        timeouts: Timeouts,
    ) -> Result<Self, LinkError> {
        let mut hello = Vec::new();
        let name = name.cloned();
        encode_request(&mut hello, &Request::Hello { name });
        let mut session = Self {
            server,
            connection: server.ask(&hello, timeouts)?,
            received: Vec::new(),
            is_known: false,
            trust: None,
        };
        session.trust =
            session.fields(|fields| fields.begins_with(VERSION).then(|| fields.trust()))?;
        session.is_known = true;
        Ok(session)
    }

    /// Returns the local IP address of the connection.
    pub(super) fn our_side(&self) -> Option<IpAddr> {
        self.connection.stream.our_ip()
    }

    pub(super) fn say(&mut self, request: &Request<'_>) -> Result<(), LinkError> {
        let mut bytes = Vec::new();
        encode_request(&mut bytes, request);
        (&self.connection.stream)
            .write_all(&bytes)
            .map_err(|e| self.server.broken(e))
    }

    /// Reads the next answer, and returns the result of `make` for it.
    pub(super) fn next<T>(
        &mut self,
        make: impl FnOnce(Answer<'_>, &ServerConnection) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match decode_answer(&self.received) {
                Ok(Some((answer, len))) => {
                    let made = make(answer, &self.connection);
                    self.received.drain(..len);
                    return made;
                }
                Ok(None) => {}
                Err(_) => return Err(self.not_in_session(None)),
            }
            match (&self.connection.stream).read(&mut chunk) {
                Ok(0) => return Err(self.not_in_session(Some(self.server.ended()))),
                Ok(n) => self.received.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.not_in_session(Some(self.server.broken(e)))),
            }
        }
    }

    /// Returns the error for bytes that are not an answer, or for a connection that failed (`broken`). Old servers, and
    /// servers that are too busy to detect the dialect, answer in the line dialect.
    fn not_in_session(&self, broken: Option<LinkError>) -> LinkError {
        let bad_verb = Declined::from(Refusal::BadVerb).reply();
        if self.received == bad_verb.as_bytes() {
            return LinkError::NoSession(self.server.clone());
        }
        match broken {
            Some(broken) if self.is_known => broken,
            Some(broken) => self.server.cut_off(&self.received, broken),
            None => self.server.understand(&self.received),
        }
    }

    /// Reads an `OK`.
    pub(super) fn done(&mut self) -> Result<(), LinkError> {
        self.fields(|_| Some(()))
    }

    /// Reads an `OK`, and returns the result of `take` for its fields.
    pub(super) fn fields<T>(
        &mut self,
        take: impl FnOnce(AnswerFields<'_>) -> Option<T>,
    ) -> Result<T, LinkError> {
        let strange = || LinkError::NotAServer(self.server.clone());
        let strange = strange();
        self.next(|answer, _| match answer {
            Answer::Ok(fields) => take(fields).ok_or(strange),
            Answer::Err(code, text) => Err(LinkError::refused(code, text)),
            _ => Err(strange),
        })
    }

    /// Stores a message on the server, durably, and once for each id. Returns its number in the recipient's mailbox.
    pub(super) fn send(
        &mut self,
        letter: &Letter<'_>,
        ttl: Option<u64>,
    ) -> Result<Option<u64>, LinkError> {
        self.say(&Request::Send {
            to: letter.to.clone(),
            id: Some(letter.id),
            ttl,
            body: letter.body,
        })?;
        self.fields(|fields| Some(fields.number("seq")))
    }

    /// Reads the waiting messages into `sink`. They are acknowledged after the sink has finished. If the connection or
    /// this process ends earlier, they stay waiting.
    pub(super) fn fetch(&mut self, sink: &mut dyn MessageSink) -> Result<(), LinkError> {
        loop {
            self.say(&Request::Fetch {
                max: sink.batch(),
                peek: false,
            })?;
            let mut keys = Vec::new();
            let mut last = None;
            let more = loop {
                let strange = LinkError::NotAServer(self.server.clone());
                let end = self.next(|answer, connection| match answer {
                    Answer::Message(message) => {
                        let view = connection.view(&message);
                        let key = view.key();
                        let known = key.as_ref().map_or(Ok(false), |key| sink.knows(key));
                        if !known.map_err(LinkError::Output)? {
                            sink.take(&MessagePiece::Whole(&view))
                                .map_err(LinkError::Output)?;
                        }
                        keys.extend(key);
                        last = Some(message.seq);
                        Ok(None)
                    }
                    Answer::End(fields) => Ok(Some(fields.more())),
                    Answer::Ping => Ok(None),
                    Answer::Err(code, text) => Err(LinkError::refused(code, text)),
                    Answer::Ok(_) | Answer::User(_) => Err(strange),
                })?;
                if let Some(more) = end {
                    break more;
                }
            };
            sink.finish(&keys).map_err(LinkError::Output)?;
            let Some(last) = last else {
                return Ok(());
            };
            self.say(&Request::Ack(last))?;
            self.done()?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Takes the lease that makes this name online. Returns its duration.
    pub(super) fn online(&mut self, request: &LeaseRequest<'_>) -> Result<Duration, LinkError> {
        let at = request.at;
        // Without an address, the server uses the one of this connection. That is right if they are the same, and also
        // if the socket is bound to the unspecified address.
        let named = (Some(at.ip()) != self.our_side()).then_some(at.ip());
        let addr = named.filter(|ip| !ip.is_unspecified());
        self.say(&Request::Online {
            port: at.port(),
            addr,
            token: Some(request.token),
            secret: Some(request.secret),
        })?;
        self.lease()
    }

    /// Renews the lease with this token, with a new secret. Returns its duration.
    ///
    /// # Errors
    /// [`LinkError::UnknownUser`] if there is no such lease.
    pub(super) fn renew(
        &mut self,
        token: LeaseToken,
        secret: TicketSecret,
    ) -> Result<Duration, LinkError> {
        self.say(&Request::Renew {
            token: Some(token),
            secret: Some(secret),
        })?;
        self.lease()
    }

    fn lease(&mut self) -> Result<Duration, LinkError> {
        self.fields(|fields| {
            let lease = fields.number("lease").filter(|lease| *lease > 0);
            Some(lease.map_or(LEASE, Duration::from_secs))
        })
    }

    /// Releases the lease with this token.
    pub(super) fn offline(&mut self, token: Option<LeaseToken>) -> Result<(), LinkError> {
        self.say(&Request::Offline { token })?;
        self.done()
    }

    /// Deregisters the name of this session.
    pub(super) fn deregister(&mut self) -> Result<(), LinkError> {
        self.say(&Request::Deregister)?;
        self.done()
    }

    /// Returns where `name` is online.
    pub(super) fn lookup(&mut self, name: &Name) -> Result<Peer, LinkError> {
        self.say(&Request::Lookup(name.clone()))?;
        let location = self.fields(|fields| fields.location())?;
        Ok(match (location, self.trust) {
            (Location::Offline, _) => Peer::Offline,
            (Location::Text(address), _) => Peer::Text(address),
            (Location::Sealed(address, ticket), Some(trust)) => Peer::Sealed(SealedPeer {
                address,
                ticket,
                trust,
            }),
            (Location::Closed, _) | (Location::Sealed(..), None) => Peer::Closed,
        })
    }

    /// Returns the registered users.
    pub(super) fn who(&mut self) -> Result<Vec<Person>, LinkError> {
        let mut people: Vec<Person> = Vec::new();
        loop {
            let after = people.last().map(|person| person.name.clone());
            self.say(&Request::Who { after, max: NAMES })?;
            let before = people.len();
            let more = loop {
                let strange = LinkError::NotAServer(self.server.clone());
                let end = self.next(|answer, _| match answer {
                    Answer::User(fields) => {
                        let (name, online) = fields.user().ok_or(strange)?;
                        people.push(Person { name, online });
                        Ok(None)
                    }
                    Answer::End(fields) => Ok(Some(fields.more())),
                    Answer::Ping => Ok(None),
                    Answer::Err(code, text) => Err(LinkError::refused(code, text)),
                    Answer::Ok(_) | Answer::Message(_) => Err(strange),
                })?;
                if let Some(more) = end {
                    break more;
                }
            };
            if !more || people.len() == before {
                return Ok(people);
            }
        }
    }
}
