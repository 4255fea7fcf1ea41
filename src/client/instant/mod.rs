//! Instant messages: from client to client where that is possible, else through the server.

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

/// How a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendReport {
    /// The recipient's client has it on its disk.
    Acknowledged,
    /// It was sent to an old client, which acknowledges nothing.
    Sent,
    /// The server keeps it, under this number if it says so.
    Stored(StoredBecause, Option<u64>),
}

/// Why a message is at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredBecause {
    /// The recipient is not online.
    Offline,
    /// The recipient's client has not acknowledged it.
    Unanswered,
    /// It does not fit a datagram.
    Unfit,
    /// Nobody knows who is online.
    Unasked,
}

/// Sends a message, to the recipient's client if they are online, else to the server.
///
/// # Errors
/// It was not sent, or it is not known whether it was ([`LinkError::Unknown`]).
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
        // A session keeps what it takes.
        Offered::SendTo(peer) => go(letter, peer),
    }
}

/// Sends it to the recipient's client, or says why it must go through the server.
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

/// Sends it where an old server says that its recipient is. That server keeps nothing for those who are
/// online.
fn go(letter: &Letter<'_>, peer: PeerAddress) -> Result<SendReport, LinkError> {
    directly(letter, peer).map_err(|why| {
        LinkError::Unfit(match why {
            StoredBecause::Unfit => match datagram::encode_text(&letter.from, letter.body) {
                Err(Unfit::Nul) => "the message has a NUL, at which the text form of a datagram ends",
                _ => "the message is too long for one datagram, and the old server keeps nothing for those who are online",
            },
            _ => "the recipient is online, but their client cannot be reached, and the old server keeps nothing for those who are online",
        })
    })
}
