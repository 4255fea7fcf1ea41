//! Instant messages: from client to client if possible, else through the server.

mod listener;
mod listener_pool;
mod secrets;
mod sender;
mod source;

pub(super) use self::listener_pool::{ListenerEvent, ListenerHandle, ListenerPool};
pub(super) use self::secrets::HeldSecret;
pub(super) use self::sender::END as LONGEST;
pub(super) use self::source::{SourceAddress, SourceError};

use std::net::SocketAddr;

use super::link::{DialectChoice, Link, LinkError, Offered, Peer, SealedPeer};
use crate::wire::datagram::{self, Ack, Letter, Unfit};

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
    /// It could not go to the recipient's client: the recipient was not looked up, or takes none from this client.
    Closed,
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
            Offered::SendTo(address) => go(letter, address),
        };
    }
    let directly = match link.lookup(&letter.from, &letter.to)? {
        Peer::Sealed(peer) => send_sealed(letter, &peer),
        Peer::Text(address) => send_text(letter, address),
        Peer::Closed => Err(StoredBecause::Closed),
        Peer::Offline if link.dialect() == DialectChoice::Line => Err(StoredBecause::Closed),
        Peer::Offline => Err(StoredBecause::Offline),
    };
    let why = match directly {
        Ok(report) => return Ok(report),
        Err(why) => why,
    };
    match link.offer(letter, ttl)? {
        Offered::Stored(seq) => Ok(SendReport::Stored(why, seq)),
        // Only the framed dialect gives this answer.
        Offered::SendTo(address) => go(letter, address),
    }
}

/// Sends a message to the recipient's client. Fails with the reason why it must go through the server.
fn send_sealed(letter: &Letter<'_>, peer: &SealedPeer) -> Result<SendReport, StoredBecause> {
    let SealedPeer {
        address,
        ticket,
        trust,
    } = peer;
    let bytes = datagram::seal(letter, *trust, ticket).map_err(|_| StoredBecause::Unfit)?;
    let is_stored = |ack: &Ack| ack.is_for(ticket, letter.id);
    match sender::send(*address, &bytes, is_stored) {
        Ok(true) => Ok(SendReport::Acknowledged),
        Ok(false) | Err(_) => Err(StoredBecause::Unanswered),
    }
}

/// As [`send_sealed`], for an old client.
fn send_text(letter: &Letter<'_>, address: SocketAddr) -> Result<SendReport, StoredBecause> {
    let bytes =
        datagram::encode_text(&letter.from, letter.body).map_err(|_| StoredBecause::Unfit)?;
    match sender::send_once(address, &bytes) {
        Ok(()) => Ok(SendReport::Sent),
        Err(_) => Err(StoredBecause::Unanswered),
    }
}

/// Sends a message to the address reported by an old server, which stores no messages for online users.
fn go(letter: &Letter<'_>, address: SocketAddr) -> Result<SendReport, LinkError> {
    send_text(letter, address).map_err(|why| {
        LinkError::Unfit(match why {
            StoredBecause::Unfit => match datagram::encode_text(&letter.from, letter.body) {
                Err(Unfit::Nul) => "the message contains a NUL byte, which ends the text form of a datagram",
                _ => "the message is too long for one datagram, and the old server stores no messages for online users",
            },
            _ => "the recipient is online, but the client cannot be reached, and the old server stores no messages for online users",
        })
    })
}
