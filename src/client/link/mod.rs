//! Requests to the server, in the dialect that it supports. Each request opens a new connection.

mod address;
mod error;
mod framed;
mod line;
mod mailbox;
mod presence;
mod server;
mod session;
mod types;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) use self::address::Server;
pub(super) use self::error::LinkError;
pub(super) use self::framed::Registered;
pub(super) use self::mailbox::{MailboxObserver, Verdict};
pub(super) use self::presence::LeaseState;
use self::server::Timeouts;
use self::session::SessionConnection;
pub(super) use self::types::{
    DialectChoice, LeaseRequest, MessagePiece, MessageSink, Offered, Peer, Person, SealedPeer,
};
use crate::name::Name;
use crate::wire::datagram::Letter;

/// A server, with the dialect and the timeouts for requests to it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    server: Server,
    dialect: DialectChoice,
    /// Whether the server has refused the session dialect. Clones share this.
    is_old: Arc<AtomicBool>,
    timeouts: Timeouts,
}

impl Link {
    /// Creates a link to `server`. Does not connect.
    pub(super) fn new(server: Server, dialect: DialectChoice) -> Self {
        Self {
            server,
            dialect,
            is_old: Arc::default(),
            timeouts: Timeouts::REQUEST,
        }
    }

    /// Returns the configured dialect.
    pub(super) fn chosen(&self) -> DialectChoice {
        self.dialect
    }

    /// Returns a copy for interactive requests: `say` prints a notice while the server does not answer.
    pub(super) fn with_notice(&self, say: fn(&str)) -> Self {
        Self {
            timeouts: Timeouts {
                notify: Some(say),
                ..self.timeouts
            },
            ..self.clone()
        }
    }

    /// Returns a copy with timeouts of one or two seconds.
    pub(super) fn with_short_timeouts(&self) -> Self {
        Self {
            timeouts: Timeouts::SHORT,
            ..self.clone()
        }
    }

    /// Returns a copy for background work, with a short timeout for connecting.
    pub(super) fn in_background(&self) -> Self {
        Self {
            timeouts: Timeouts::BACKGROUND,
            ..self.clone()
        }
    }

    /// Returns whether to retry later after this error. Sending the message again must not store it twice.
    pub(super) fn is_temporary(&self, error: &LinkError) -> bool {
        match error {
            // Only the session dialect stores a message id once.
            LinkError::Unknown(..) => self.dialect() == DialectChoice::Session,
            LinkError::Unreachable(..)
            | LinkError::Broken(..)
            | LinkError::Later(_)
            | LinkError::ServerFailed(_) => true,
            _ => false,
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Returns the dialect in use. [`DialectChoice::Auto`] stands for the session dialect until the server has turned
    /// out to be an old one, and for the line dialect from then on.
    pub(super) fn dialect(&self) -> DialectChoice {
        match self.dialect {
            DialectChoice::Auto if self.is_old.load(Ordering::Relaxed) => DialectChoice::Line,
            DialectChoice::Auto => DialectChoice::Session,
            chosen => chosen,
        }
    }

    /// Returns the local IP address that the kernel would use to reach the server. The server need not be running.
    pub(super) fn our_side(&self) -> Option<IpAddr> {
        self.server.our_side()
    }

    /// Opens a session and runs `work` in it. Returns `None` if the dialect in use is an old one.
    fn in_session<T>(
        &self,
        name: Option<&Name>,
        work: impl FnOnce(&mut SessionConnection<'_>) -> Result<T, LinkError>,
    ) -> Result<Option<T>, LinkError> {
        if self.dialect() != DialectChoice::Session {
            return Ok(None);
        }
        match SessionConnection::open(&self.server, name, self.timeouts) {
            Ok(mut session) => work(&mut session).map(Some),
            Err(LinkError::NoSession(_)) if self.dialect == DialectChoice::Auto => {
                self.is_old.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// As [`in_session`](Self::in_session), but an old dialect is an error: it has no presence.
    fn present<T>(
        &self,
        name: Option<&Name>,
        work: impl FnOnce(&mut SessionConnection<'_>) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        self.in_session(name, work)?
            .ok_or_else(|| LinkError::NoPresence(self.server.clone()))
    }

    /// Connects once, to check the server and its dialect. Returns the local IP address of the connection.
    ///
    /// # Errors
    /// The server does not answer, or is not a dropline server.
    pub(super) fn greet(&self, name: &Name) -> Result<Option<IpAddr>, LinkError> {
        match self.dialect() {
            DialectChoice::Framed => {
                let connection = self.server.ask(b"", self.timeouts)?;
                Ok(connection.stream.our_ip())
            }
            _ => {
                let side = self.in_session(Some(name), |session| Ok(session.our_side()))?;
                Ok(side.flatten())
            }
        }
    }

    /// Offers a message to the server, which stores it. In the framed dialect, the server returns the address of an
    /// online recipient instead.
    ///
    /// # Errors
    /// The server did not accept the message, or it is unknown whether it did ([`LinkError::Unknown`]).
    pub(super) fn offer(
        &self,
        letter: &Letter<'_>,
        ttl: Option<u64>,
    ) -> Result<Offered, LinkError> {
        if self.dialect() == DialectChoice::Framed {
            no_ttl(ttl)?;
            return framed::send(&self.server, letter, self.timeouts);
        }
        // A session stores an id once, so that the message can be sent again if the connection broke.
        let sent = match self.in_session(Some(&letter.from), |session| session.send(letter, ttl)) {
            Err(LinkError::Broken(..)) => {
                self.in_session(Some(&letter.from), |session| session.send(letter, ttl))
            }
            sent => sent,
        };
        match sent {
            Ok(Some(seq)) => Ok(Offered::Stored(seq)),
            Ok(None) => {
                no_ttl(ttl)?;
                line::store(&self.server, &letter.to, &letter.from, letter.body)?;
                Ok(Offered::Stored(None))
            }
            Err(LinkError::Broken(server, error)) => Err(LinkError::Unknown(server, error)),
            Err(e) => Err(e),
        }
    }

    /// Reads the messages waiting for `of` into `sink`. Returns `false` if the mailbox does not exist.
    ///
    /// # Errors
    /// The messages stay waiting.
    pub(super) fn fetch(&self, of: &Name, sink: &mut dyn MessageSink) -> Result<bool, LinkError> {
        if self.dialect() == DialectChoice::Framed {
            return framed::fetch(&self.server, of, sink, self.timeouts).map(|()| true);
        }
        match self.in_session(Some(of), |session| session.fetch(sink)) {
            Ok(Some(())) => Ok(true),
            Ok(None) => line::fetch(&self.server, of, sink),
            Err(LinkError::UnknownUser(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Refuses a time to live, which the old dialects cannot carry.
fn no_ttl(ttl: Option<u64>) -> Result<(), LinkError> {
    match ttl {
        None => Ok(()),
        Some(_) => Err(LinkError::Unfit(
            "a time to live (--ttl) needs the session dialect, but an older one is in use",
        )),
    }
}
