//! What is said about messages and people, in whichever dialect.

use std::io;
use std::net::SocketAddr;

use crate::client::message_view::MessageView;
use crate::message::{MessageId, Speaks};
use crate::name::Name;

/// Which dialect is spoken with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::client) enum DialectChoice {
    /// The session dialect, and with an old server the line dialect
    Auto,
    /// Our own: ids, acknowledgements, presence
    Session,
    /// That of the old menu server: mailboxes alone
    Line,
    /// That of the old chat server
    Framed,
}

impl std::fmt::Display for DialectChoice {
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
pub(in crate::client) enum MessagePiece<'a> {
    /// A message as a whole.
    Whole(&'a MessageView<'a>),
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
pub(in crate::client) trait MessageSink {
    /// Whether it has this message already; then it is not handed over again.
    ///
    /// # Errors
    /// Then nothing more is read, and all messages stay waiting.
    fn knows(&mut self, id: MessageId) -> io::Result<bool>;

    /// Takes a piece.
    ///
    /// # Errors
    /// Then nothing more is read, and all messages stay waiting.
    fn take(&mut self, piece: &MessagePiece<'_>) -> io::Result<()>;

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
pub(in crate::client) struct PeerAddress {
    /// The UDP address.
    pub(in crate::client) address: SocketAddr,
    /// What is understood there.
    pub(in crate::client) speaks: Speaks,
}

/// Somebody who is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Person {
    /// The name.
    pub(in crate::client) name: Name,
    /// Whether they are there.
    pub(in crate::client) online: bool,
}

/// What became of a message that was offered to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Offered {
    /// The server has it on its disk: under this number in the recipient's mailbox, if it says so.
    Stored(Option<u64>),
    /// The server sends us to the recipient, and keeps nothing.
    SendTo(PeerAddress),
}
