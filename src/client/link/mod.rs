//! A connection to the server: a fresh one for each request, in whichever dialect the server speaks.

mod error;
mod framed;
mod line;
mod mailbox;
mod presence;
mod server;
mod session;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) use self::error::LinkError;
pub(super) use self::framed::Registered;
pub(super) use self::mailbox::{Attend, Verdict};
pub(super) use self::presence::Kept;
use self::server::Patience;
pub(super) use self::server::Server;
use self::session::Session;
use super::note::Note;
use crate::message::{MessageId, Speaks};
use crate::name::Name;
use crate::wire::datagram::Letter;

/// Which dialect is spoken with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Dialect {
    /// The session dialect, and with an old server the line dialect
    Auto,
    /// Our own: ids, acknowledgements, presence
    Session,
    /// That of the old menu server: mailboxes alone
    Line,
    /// That of the old chat server
    Framed,
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Session => "session",
            Self::Line => "line",
            Self::Framed => "framed",
        })
    }
}

/// A piece of a mailbox, as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A message as a whole.
    Whole(&'a Note<'a>),
    /// The first line of a message.
    First {
        /// Who sent it.
        from: &'a [u8],
        /// The line.
        text: &'a [u8],
    },
    /// A further line of it.
    Further(&'a [u8]),
}

/// What takes the messages that are read.
pub(super) trait Sink {
    /// Whether it has this message already; then it is not handed over again.
    ///
    /// # Errors
    /// Then nothing more is read, and all messages stay waiting.
    fn knows(&mut self, id: MessageId) -> io::Result<bool>;

    /// Takes a piece.
    ///
    /// # Errors
    /// Then nothing more is read, and all messages stay waiting.
    fn take(&mut self, piece: &Piece<'_>) -> io::Result<()>;

    /// How many messages it takes at a time: it finishes with them together.
    fn batch(&self) -> u64 {
        100
    }

    /// Brings all that was taken to where it belongs, and remembers these ids. After this, the messages
    /// leave the queue.
    ///
    /// # Errors
    /// Then they stay waiting.
    fn finish(&mut self, ids: &[MessageId]) -> io::Result<()>;
}

/// Where somebody can be reached at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// The UDP address.
    pub(super) address: SocketAddr,
    /// What is understood there.
    pub(super) speaks: Speaks,
}

/// Somebody who is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// The name.
    pub(super) name: Name,
    /// Whether they are there.
    pub(super) online: bool,
}

/// What became of a message that was offered to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// The server has it on its disk: under this number in the recipient's mailbox, if it says so.
    Kept(Option<u64>),
    /// The server sends us to the recipient, and keeps nothing.
    Go(Peer),
}

/// How the server is spoken to.
#[derive(Clone, Debug)]
pub(super) struct Link {
    server: Server,
    dialect: Dialect,
    /// Whether the server has turned out to know the line dialect only.
    is_old: Arc<AtomicBool>,
    patience: Patience,
}

impl Link {
    /// A way to speak to `server`. Nothing is sent yet.
    pub(super) fn new(server: Server, dialect: Dialect) -> Self {
        Self {
            server,
            dialect,
            is_old: Arc::default(),
            patience: Patience::WORK,
        }
    }

    /// The dialect that was asked for.
    pub(super) fn chosen(&self) -> Dialect {
        self.dialect
    }

    /// The same, for somebody who sits there and waits: `say` tells of a server that keeps quiet.
    pub(super) fn aloud(&self, say: fn(&str)) -> Self {
        Self {
            patience: Patience {
                word: Some(say),
                ..self.patience
            },
            ..self.clone()
        }
    }

    /// The same, for last words: it waits a second or two, and no longer.
    pub(super) fn hasty(&self) -> Self {
        Self {
            patience: Patience::FAREWELL,
            ..self.clone()
        }
    }

    /// The same, for what was left over from earlier: it does not wait long for a server that is not there.
    pub(super) fn for_errands(&self) -> Self {
        Self {
            patience: Patience::ERRAND,
            ..self.clone()
        }
    }

    /// Whether it may help to try again later, after this error: the message is not where it should be, and it
    /// does no harm to send it once more.
    pub(super) fn is_for_now(&self, error: &LinkError) -> bool {
        match error {
            // Only there the same message is stored once.
            LinkError::Unknown(..) => self.dialect() == Dialect::Session,
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

    /// The dialect, as far as it is known: [`Dialect::Auto`] has become one of the others after the first
    /// reply of an old server, and means the session dialect until then.
    pub(super) fn dialect(&self) -> Dialect {
        match self.dialect {
            Dialect::Auto if self.is_old.load(Ordering::Relaxed) => Dialect::Line,
            Dialect::Auto => Dialect::Session,
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
        work: impl FnOnce(&mut Session<'_>) -> Result<T, LinkError>,
    ) -> Result<Option<T>, LinkError> {
        if self.dialect() != Dialect::Session {
            return Ok(None);
        }
        match Session::open(&self.server, name, self.patience) {
            Ok(mut session) => work(&mut session).map(Some),
            Err(LinkError::NoSession(_)) if self.dialect == Dialect::Auto => {
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
        work: impl FnOnce(&mut Session<'_>) -> Result<T, LinkError>,
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
            Dialect::Framed => {
                let stream = self.server.ask(b"", self.patience)?;
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
        if self.dialect() == Dialect::Framed {
            no_ttl(ttl)?;
            return framed::send(&self.server, letter, self.patience);
        }
        // The same id is stored once, so that what was perhaps handed over can be handed over again.
        let sent = match self.in_session(Some(&letter.from), |session| session.send(letter, ttl)) {
            Err(LinkError::Broken(..)) => {
                self.in_session(Some(&letter.from), |session| session.send(letter, ttl))
            }
            sent => sent,
        };
        match sent {
            Ok(Some(seq)) => Ok(Offered::Kept(seq)),
            Ok(None) => {
                no_ttl(ttl)?;
                line::store(&self.server, &letter.to, &letter.from, letter.body)?;
                Ok(Offered::Kept(None))
            }
            Err(LinkError::Broken(server, error)) => Err(LinkError::Unknown(server, error)),
            Err(e) => Err(e),
        }
    }

    /// Reads what waits for `of` into `sink`; `false` when there is no such mailbox.
    ///
    /// # Errors
    /// The messages stay waiting.
    pub(super) fn fetch(&self, of: &Name, sink: &mut dyn Sink) -> Result<bool, LinkError> {
        if self.dialect() == Dialect::Framed {
            return framed::fetch(&self.server, of, sink, self.patience).map(|()| true);
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
