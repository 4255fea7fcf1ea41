//! Types that all dialects share.

use std::io;
use std::net::SocketAddr;

use crate::client::message_view::MessageView;
use crate::message::{LeaseToken, MessageKey, TicketSecret, Trust};
use crate::name::Name;
use crate::wire::datagram::Ticket;

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
    fn knows(&mut self, key: &MessageKey) -> io::Result<bool>;

    /// Takes a piece.
    ///
    /// # Errors
    /// Reading ends, and all messages stay waiting.
    fn take(&mut self, piece: &MessagePiece<'_>) -> io::Result<()>;

    /// Returns how many messages to read before each [`finish`](Self::finish).
    fn batch(&self) -> u64 {
        100
    }

    /// Writes out all messages taken, and records these keys. The messages are acknowledged afterwards.
    ///
    /// # Errors
    /// The messages stay waiting.
    fn finish(&mut self, keys: &[MessageKey]) -> io::Result<()>;
}

/// Another client, as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum Peer {
    Offline,
    /// It is online, but takes no instant messages from this client.
    Closed,
    /// An old client, which takes datagrams of the text form at this address.
    Text(SocketAddr),
    Sealed(SealedPeer),
}

/// A client that takes one message sealed with this ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct SealedPeer {
    pub(in crate::client) address: SocketAddr,
    pub(in crate::client) ticket: Ticket,
    /// How far the server trusts this client, which sends.
    pub(in crate::client) trust: Trust,
}

/// What a client that goes online tells the server.
pub(in crate::client) struct LeaseRequest<'r> {
    /// The address for instant messages.
    pub(in crate::client) at: SocketAddr,
    pub(in crate::client) token: LeaseToken,
    pub(in crate::client) secret: TicketSecret,
    /// Called before the server gets the secret, with whether the server is verified.
    pub(in crate::client) announce: &'r dyn Fn(bool),
}

/// A registered user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Person {
    pub(in crate::client) name: Name,
    pub(in crate::client) online: bool,
}

/// The outcome of offering a message to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum Offered {
    /// The server has stored the message durably, with this number in the recipient's mailbox if it reports one.
    Stored(Option<u64>),
    /// The server has not stored the message: the recipient takes datagrams of the text form at this address.
    SendTo(SocketAddr),
}
