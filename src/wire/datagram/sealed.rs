//! Messages of our form. Numbers are big-endian.
//!
//! ```text
//! message: 00 44 4C 32 01 | nonce (16 bytes) | trust u8 | u8 + sender | u8 + recipient | id (16 bytes) | sealed content
//! content: time u64 (ms since 1970) | body
//! ```
//!
//! The content is sealed by ChaCha20-Poly1305 (RFC 8439) under HMAC-SHA-256(key of the ticket, "msg" | id), with a nonce
//! of zeros and all bytes before it as associated data. The key depends on the id, so that it seals one content.
//!
//! A message names its recipient because ports are reused: a client drops a message for the previous user of its port
//! without an acknowledgement, and the sender sends it to the server.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::ack;
use super::form::{Letter, MESSAGE, MOST_BYTES, Malformed, Unfit, array, begin};
use super::ticket::{Ticket, TicketKey, TicketNonce, byte};
use crate::message::{MessageId, MessageKey, TicketSecret, Trust};
use crate::name::Name;

/// The size of the time in the content, in bytes.
const TIME: usize = 8;
/// The size of the tag of ChaCha20-Poly1305, in bytes.
const TAG: usize = 16;

/// A message that is not opened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed<'a> {
    pub(crate) nonce: TicketNonce,
    /// The sender and the id: proved only once the message is opened.
    pub(crate) key: MessageKey,
    pub(crate) to: Name,
    /// The bytes before the sealed content.
    clear: &'a [u8],
    content: &'a [u8],
}

/// The content of a message whose sender and id are proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The time of writing by the sender's clock, in milliseconds since 1970.
    pub(crate) at: u64,
    /// Never empty.
    pub(crate) body: Vec<u8>,
    /// The datagram to send back when the message is stored.
    pub(crate) ack: Vec<u8>,
}

impl<'a> Sealed<'a> {
    /// Decodes what follows the nonce, `rest`, of a message.
    pub(super) fn decode(
        bytes: &'a [u8],
        nonce: TicketNonce,
        mut rest: &'a [u8],
    ) -> Result<Self, Malformed> {
        let [trust] = *array(&mut rest)?;
        let trust = Trust::from_number(trust).ok_or(Malformed::Trust(trust))?;
        let [from, to] = [name(&mut rest)?, name(&mut rest)?];
        let id = MessageId(*array(&mut rest)?);
        match rest.len().checked_sub(TIME + TAG) {
            None => Err(Malformed::Lengths),
            Some(0) => Err(Malformed::Empty),
            Some(_) => Ok(Self {
                nonce,
                key: MessageKey { trust, from, id },
                to,
                clear: &bytes[..bytes.len() - rest.len()],
                content: rest,
            }),
        }
    }

    /// Opens the message if it was sealed with a ticket from this secret.
    pub(crate) fn open(&self, secret: &TicketSecret) -> Option<Opened> {
        let MessageKey { trust, from, id } = &self.key;
        let key = TicketKey::derive(secret, self.nonce, *trust, from, &self.to);
        let mut content = self.content.to_vec();
        let plain = seal_key(&key, *id)?
            .open_in_place(zeros(), Aad::from(self.clear), &mut content)
            .ok()?;
        let (at, body) = plain.split_first_chunk::<TIME>()?;
        Some(Opened {
            at: u64::from_be_bytes(*at),
            body: Some(body).filter(|body| !body.is_empty())?.to_vec(),
            ack: ack::encode(&key, self.nonce, *id),
        })
    }
}

/// Seals a message, whose sender the server trusts this far. A ticket seals one message; a repetition has the same bytes.
///
/// # Errors
/// When the message is empty or too long. A message that is too long must go through the server.
pub(crate) fn seal(letter: &Letter<'_>, trust: Trust, ticket: &Ticket) -> Result<Vec<u8>, Unfit> {
    if letter.body.is_empty() {
        return Err(Unfit::Empty);
    }
    let mut bytes = begin(MESSAGE, ticket.nonce);
    bytes.push(trust as u8);
    for name in [&letter.from, &letter.to] {
        bytes.push(byte(name.as_bytes().len()));
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes.extend_from_slice(&letter.id.0);
    if bytes.len() + TIME + letter.body.len() + TAG > MOST_BYTES {
        return Err(Unfit::TooLong);
    }
    let mut content = [&letter.at.to_be_bytes()[..], letter.body].concat();
    // Sealing fails only for a content of more than 256 GiB.
    seal_key(&ticket.key, letter.id)
        .and_then(|key| {
            let clear = Aad::from(&bytes);
            key.seal_in_place_append_tag(zeros(), clear, &mut content)
                .ok()
        })
        .ok_or(Unfit::TooLong)?;
    bytes.extend_from_slice(&content);
    Ok(bytes)
}

fn name(rest: &mut &[u8]) -> Result<Name, Malformed> {
    let [len] = *array(rest)?;
    let (name, left) = rest
        .split_at_checked(len.into())
        .ok_or(Malformed::Lengths)?;
    *rest = left;
    Ok(Name::new(name)?)
}

/// Returns the key that seals the message with this id.
fn seal_key(key: &TicketKey, id: MessageId) -> Option<LessSafeKey> {
    let key = key.mac(&[b"msg", &id.0]);
    Some(LessSafeKey::new(
        UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?,
    ))
}

fn zeros() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests;
