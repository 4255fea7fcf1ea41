//! Instant messages: datagrams between clients, and their acknowledgements.
//!
//! There are two forms. Our form (`sealed`) begins with a NUL, with which the text form never begins. It is sealed with a
//! [`Ticket`] that the server issues to the sender, so that the receiver knows what the server says about the sender.
//! The text form (`text`) comes from an older client; its sender is a claim, and it has neither ids nor
//! acknowledgements.

mod ack;
mod form;
mod sealed;
mod text;
mod ticket;

pub(crate) use self::ack::Ack;
use self::form::{ACK, MAGIC, MESSAGE, array};
pub(crate) use self::form::{Letter, MOST_BYTES, Malformed, Unfit};
pub(crate) use self::sealed::{Opened, Sealed, seal};
pub(crate) use self::text::encode_text;
pub(crate) use self::ticket::{SECRET_LIFETIME, SECRET_OVERLAP, Ticket, TicketKey, TicketNonce};
use crate::name::Name;

/// A decoded datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datagram<'a> {
    /// A message of our form, not opened yet. Its sender expects an acknowledgement.
    Sealed(Sealed<'a>),
    /// The claim that the recipient has stored a message.
    Ack(Ack),
    /// A message of the text form.
    Text {
        /// The sender, unverified.
        from: Name,
        /// Never empty.
        body: &'a [u8],
    },
}

/// Decodes a whole datagram.
///
/// # Errors
/// The reason to drop it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
    if bytes.first() != Some(&0) {
        let (from, body) = text::decode(bytes)?;
        return Ok(Datagram::Text { from, body });
    }
    if bytes.len() > MOST_BYTES {
        return Err(Malformed::TooLong);
    }
    let mut rest = bytes.strip_prefix(&MAGIC).ok_or(Malformed::Form)?;
    let [kind] = *array(&mut rest)?;
    let nonce = TicketNonce(*array(&mut rest)?);
    Ok(match kind {
        MESSAGE => Datagram::Sealed(Sealed::decode(bytes, nonce, rest)?),
        ACK => Datagram::Ack(Ack::decode(nonce, rest)?),
        other => return Err(Malformed::Type(other)),
    })
}
