//! What the parts of datagrams share.

use super::ticket::TicketNonce;
use crate::message::MessageId;
use crate::name::{Name, NameError};

/// The longest datagram of our form, in bytes. Networks do not fragment datagrams of this size.
pub(crate) const MOST_BYTES: usize = 1_200;
/// The beginning of a datagram of our form.
pub(super) const MAGIC: [u8; 4] = [0x00, 0x44, 0x4c, 0x32];

/// The types of datagrams of our form.
pub(super) const MESSAGE: u8 = 1;
pub(super) const ACK: u8 = 2;

/// An instant message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter<'a> {
    /// The same in every copy of the message, however it is sent.
    pub(crate) id: MessageId,
    /// The time of writing by the sender's clock, in milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) from: Name,
    pub(crate) to: Name,
    /// Never empty.
    pub(crate) body: &'a [u8],
}

/// Why a received datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it is too long")]
    TooLong,
    #[error("it has neither our form nor the text form")]
    Form,
    #[error("its type is {0}")]
    Type(u8),
    #[error("its trust is {0}")]
    Trust(u8),
    #[error("its lengths are wrong")]
    Lengths,
    #[error("a name in it is invalid: {0}")]
    Name(#[from] NameError),
    #[error("its message is empty")]
    Empty,
}

/// Why a message cannot be sent as a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("the message is empty")]
    Empty,
    #[error("the message is too long for one datagram")]
    TooLong,
    #[error("the message has a NUL, at which the text form ends")]
    Nul,
}

/// Begins a datagram of our form.
pub(super) fn begin(kind: u8, nonce: TicketNonce) -> Vec<u8> {
    [&MAGIC[..], &[kind], &nonce.0].concat()
}

/// Takes `N` bytes from the beginning of `rest`.
pub(super) fn array<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Malformed> {
    let (taken, left) = rest.split_first_chunk().ok_or(Malformed::Lengths)?;
    *rest = left;
    Ok(taken)
}
