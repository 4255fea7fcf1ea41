//! Instant messages: from client to client if possible, else through the server.

mod listener;
mod listener_pool;
mod sender;
mod source;

pub(super) use self::listener_pool::{ListenerEvent, ListenerHandle, ListenerPool};
pub(super) use self::sender::END as LONGEST;
pub(super) use self::source::{SourceAddress, SourceError};

use super::link::{DialectChoice, Link, LinkError, Offered, PeerAddress};
use crate::message::Speaks;
use crate::wire::datagram::{self, Letter, Unfit};

/// How a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendReport {
    /// The recipient's client has stored it durably.
    Acknowledged,
    /// It was sent to an old client, which sends no acknowledgements.
    Sent,
    /// The server has stored it; with its number in the mailbox, if reported.
    Stored(StoredBecause, Option<u64>),
}

/// Why a message was sent to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredBecause {
    Offline,
    /// The recipient's client did not acknowledge it.
    Unanswered,
    /// It does not fit a datagram.
    Unfit,
    /// The presence of the recipient was not looked up.
    Unasked,
}

/// Sends a message to the recipient's client if the recipient is online, else to the server.
///
/// # Errors
/// The message was not sent, or the outcome is unknown ([`LinkError::Unknown`]).
pub(super) fn deliver(
    link: &Link,
    letter: &Letter<'_>,
    ttl: Option<u64>,
) -> Result<SendReport, LinkError> {
    if link.dialect() == DialectChoice::Framed {
        return match link.offer(letter, ttl)? {
            Offered::Stored(seq) => Ok(SendReport::Stored(StoredBecause::Offline, seq)),
            Offered::SendTo(peer) => go(letter, peer),
        };
    }
    let why = match link.lookup(&letter.from, &letter.to)? {
        Some(peer) => match directly(letter, peer) {
            Ok(delivery) => return Ok(delivery),
            Err(why) => why,
        },
        None if link.dialect() == DialectChoice::Line => StoredBecause::Unasked,
        None => StoredBecause::Offline,
    };
    match link.offer(letter, ttl)? {
        Offered::Stored(seq) => Ok(SendReport::Stored(why, seq)),
        // Only the framed dialect gives this answer.
        Offered::SendTo(peer) => go(letter, peer),
    }
}

/// Sends a message to the recipient's client. Fails with the reason why it must go through the server.
fn directly(letter: &Letter<'_>, peer: PeerAddress) -> Result<SendReport, StoredBecause> {
    match peer.speaks {
        Speaks::Datagram => {
            let bytes = datagram::encode(letter).map_err(|_| StoredBecause::Unfit)?;
            match sender::send(peer.address, letter.id, &bytes) {
                Ok(true) => Ok(SendReport::Acknowledged),
                Ok(false) | Err(_) => Err(StoredBecause::Unanswered),
            }
        }
        Speaks::Text => {
            let bytes = datagram::encode_text(&letter.from, letter.body)
                .map_err(|_| StoredBecause::Unfit)?;
            match sender::send_once(peer.address, &bytes) {
                Ok(()) => Ok(SendReport::Sent),
                Err(_) => Err(StoredBecause::Unanswered),
            }
        }
    }
}

/// Sends a message to the address reported by an old server, which stores no messages for online users.
fn go(letter: &Letter<'_>, peer: PeerAddress) -> Result<SendReport, LinkError> {
    directly(letter, peer).map_err(|why| {
        LinkError::Unfit(match why {
            StoredBecause::Unfit => match datagram::encode_text(&letter.from, letter.body) {
                Err(Unfit::Nul) => "the message contains a NUL byte, which ends the text form of a datagram",
                _ => "the message is too long for one datagram, and the old server stores no messages for online users",
            },
            _ => "the recipient is online, but the client cannot be reached, and the old server stores no messages for online users",
        })
    })
}
