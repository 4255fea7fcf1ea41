//! Acknowledgements of messages of our form.
//!
//! ```text
//! 00 44 4C 32 02 | nonce (16 bytes) | id (16 bytes) | tag (16 bytes)
//! ```
//!
//! The tag is the first half of HMAC-SHA-256(key of the ticket, "ack" | id). Without the key, another process that has
//! bound the port of the recipient cannot confirm a message.

use subtle::ConstantTimeEq as _;

use super::form::{ACK, Malformed, array, begin};
use super::ticket::{Ticket, TicketKey, TicketNonce};
use crate::message::MessageId;

/// The acknowledgement of a message, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    nonce: TicketNonce,
    id: MessageId,
    tag: [u8; 16],
}

impl Ack {
    /// Decodes what follows the nonce.
    pub(super) fn decode(nonce: TicketNonce, mut rest: &[u8]) -> Result<Self, Malformed> {
        let id = MessageId(*array(&mut rest)?);
        let tag = *array(&mut rest)?;
        match rest {
            [] => Ok(Self { nonce, id, tag }),
            _ => Err(Malformed::Lengths),
        }
    }

    /// Returns whether the recipient of the message with this ticket and id has made this acknowledgement.
    pub(crate) fn is_for(&self, ticket: &Ticket, id: MessageId) -> bool {
        let is_valid = tag(&ticket.key, id).ct_eq(&self.tag);
        self.nonce == ticket.nonce && self.id == id && bool::from(is_valid)
    }
}

/// Encodes the acknowledgement of the message with this id.
pub(super) fn encode(key: &TicketKey, nonce: TicketNonce, id: MessageId) -> Vec<u8> {
    let mut bytes = begin(ACK, nonce);
    bytes.extend_from_slice(&id.0);
    bytes.extend_from_slice(&tag(key, id));
    bytes
}

fn tag(key: &TicketKey, id: MessageId) -> [u8; 16] {
    let mac = key.mac(&[b"ack", &id.0]);
    mac.first_chunk().copied().unwrap_or_default()
}
