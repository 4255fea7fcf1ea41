//! Types that all dialects share.

use std::io;
use std::net::SocketAddr;

use crate::client::message_view::MessageView;
use crate::message::{MessageId, Speaks, Trust};
use crate::name::Name;

/// The dialect for requests to the server. The comments on the variants are help texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::client) enum DialectChoice {
    /// The session dialect, or the line dialect if the server supports no other
    Auto,
    /// The native dialect: ids, acknowledgements, presence
    Session,
    /// The dialect of the old menu server: mailboxes only
    Line,
    /// The dialect of the old chat server
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

/// A part of a mailbox, in the order in which it is read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::client) enum MessagePiece<'a> {
    /// A complete message.
    Whole(&'a MessageView<'a>),
    /// The first line of a message.
    First {
        from: &'a [u8],
        /// `None` if the server has not said it.
        trust: Option<Trust>,
        text: &'a [u8],
    },
    /// A further line of the same message.
    Further(&'a [u8]),
}

/// A consumer of messages that are read from a mailbox.
pub(in crate::client) trait MessageSink {
    /// Returns whether this message was taken before. It is then not passed to [`take`](Self::take).
    ///
    /// # Errors
    /// Reading ends, and all messages stay waiting.
    fn knows(&mut self, id: MessageId) -> io::Result<bool>;

    /// Takes a piece.
    ///
    /// # Errors
    /// Reading ends, and all messages stay waiting.
    fn take(&mut self, piece: &MessagePiece<'_>) -> io::Result<()>;

    /// Returns how many messages to read before each [`finish`](Self::finish).
    fn batch(&self) -> u64 {
        100
    }

    /// Writes out all messages taken, and records these ids. The messages are acknowledged afterwards.
    ///
    /// # Errors
    /// The messages stay waiting.
    fn finish(&mut self, ids: &[MessageId]) -> io::Result<()>;
}

/// The UDP address of an online client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) struct PeerAddress {
    pub(in crate::client) address: SocketAddr,
    /// The form of datagrams that the client supports.
    pub(in crate::client) speaks: Speaks,
}

/// A registered user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Person {
    pub(in crate::client) name: Name,
    pub(in crate::client) online: bool,
}

/// The outcome of offering a message to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Offered {
    /// The server has stored the message durably, with this number in the recipient's mailbox if it reports one.
    Stored(Option<u64>),
    /// The server has not stored the message: the recipient is online at this address.
    SendTo(PeerAddress),
}
