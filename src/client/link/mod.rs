//! A connection to the server: a fresh one for each request, in whichever dialect the server speaks.

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
    DialectChoice, MessagePiece, MessageSink, Offered, PeerAddress, Person,
};
use crate::name::Name;
use crate::wire::datagram::Letter;

/// How the server is spoken to.
#[derive(Clone, Debug)]
pub(super) struct Link {
    server: Server,
    dialect: DialectChoice,
    /// Whether the server has turned out to know the line dialect only.
    is_old: Arc<AtomicBool>,
    timeouts: Timeouts,
}

impl Link {
    /// A way to speak to `server`. Nothing is sent yet.
    pub(super) fn new(server: Server, dialect: DialectChoice) -> Self {
        Self {
            server,
            dialect,
            is_old: Arc::default(),
            timeouts: Timeouts::REQUEST,
        }
    }

    /// The dialect that was asked for.
    pub(super) fn chosen(&self) -> DialectChoice {
        self.dialect
    }

    /// The same, for somebody who sits there and waits: `say` tells of a server that keeps quiet.
    pub(super) fn with_notice(&self, say: fn(&str)) -> Self {
        Self {
            timeouts: Timeouts {
                notify: Some(say),
                ..self.timeouts
            },
            ..self.clone()
        }
    }

    /// The same, for last words: it waits a second or two, and no longer.
    pub(super) fn with_short_timeouts(&self) -> Self {
        Self {
            timeouts: Timeouts::SHORT,
            ..self.clone()
        }
    }

    /// The same, for what was left over from earlier: it does not wait long for a server that is not there.
    pub(super) fn in_background(&self) -> Self {
        Self {
            timeouts: Timeouts::BACKGROUND,
            ..self.clone()
        }
    }

    /// Whether it may help to try again later, after this error: the message is not where it should be, and it
    /// does no harm to send it once more.
    pub(super) fn is_temporary(&self, error: &LinkError) -> bool {
        match error {
            // Only there the same message is stored once.
            LinkError::Unknown(..) => self.dialect() == DialectChoice::Session,
            LinkError::Unreachable(..)
            | LinkError::Broken(..)
            | LinkError::Later(_)
            | LinkError::ServerFailed(_) => true,
            _ => false,
        }
    }

    /// The server.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// The dialect, as far as it is known: [`DialectChoice::Auto`] has become one of the others after the first
    /// reply of an old server, and means the session dialect until then.
    pub(super) fn dialect(&self) -> DialectChoice {
        match self.dialect {
            DialectChoice::Auto if self.is_old.load(Ordering::Relaxed) => DialectChoice::Line,
            DialectChoice::Auto => DialectChoice::Session,
            chosen => chosen,
        }
    }

    /// The address of ours from which we would speak to the server, whether that lives or not.
    pub(super) fn our_side(&self) -> Option<IpAddr> {
        self.server.our_side()
    }

    /// Works in a session; `None` when there can be none, for the server is an old one.
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

    /// As [`in_session`](Self::in_session), for what only a session can do.
    fn present<T>(
        &self,
        name: Option<&Name>,
        work: impl FnOnce(&mut SessionConnection<'_>) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        self.in_session(name, work)?
            .ok_or_else(|| LinkError::NoPresence(self.server.clone()))
    }

    /// Finds out whether the server lives, what it speaks, and from which address of ours it was reached.
    ///
    /// # Errors
    /// When it does not answer, or is none.
    pub(super) fn greet(&self, name: &Name) -> Result<Option<IpAddr>, LinkError> {
        match self.dialect() {
            DialectChoice::Framed => {
                let stream = self.server.ask(b"", self.timeouts)?;
                Ok(stream.our_ip())
            }
            _ => {
                let side = self.in_session(Some(name), |session| Ok(session.our_side()))?;
                Ok(side.flatten())
            }
        }
    }

    /// Offers a message to the server, which keeps it, or knows somebody better: the framed dialect sends us
    /// to whoever is online.
    ///
    /// # Errors
    /// It was not accepted, or it is not known whether it was ([`LinkError::Unknown`]).
    pub(super) fn offer(
        &self,
        letter: &Letter<'_>,
        ttl: Option<u64>,
    ) -> Result<Offered, LinkError> {
        if self.dialect() == DialectChoice::Framed {
            no_ttl(ttl)?;
            return framed::send(&self.server, letter, self.timeouts);
        }
        // The same id is stored once, so that what was perhaps handed over can be handed over again.
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

    /// Reads what waits for `of` into `sink`; `false` when there is no such mailbox.
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

/// The old dialects know no end of a message's use.
fn no_ttl(ttl: Option<u64>) -> Result<(), LinkError> {
    match ttl {
        None => Ok(()),
        Some(_) => Err(LinkError::Unfit(
            "a message that is of use for some time only takes the session dialect, and the server speaks an old one",
        )),
    }
}
