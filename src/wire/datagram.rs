//! Instant messages: datagrams between clients, and their acknowledgements.
//!
//! There are two forms. Our form begins with a NUL, with which the text form never begins. Its numbers are big-endian,
//! and its lengths must add up to the length of the datagram:
//!
//! ```text
//! 00 44 4C 31 | type (1 message, 2 ack) | id (16 bytes) | content by type
//! message: time u64 (ms since 1970) | u8 + sender | u8 + recipient | u16 + body
//! ack:     nothing
//! ```
//!
//! A message names its recipient because ports are reused. A client must drop a message for the previous user of its
//! port without acknowledging it; otherwise the message would be lost.
//!
//! The text form comes from an older client and has neither ids nor acknowledgements: `SENDER (Instat Msg)>`, a
//! newline, the text, a newline and a NUL. The misspelling is part of the protocol.

use super::framed::{INSTANT_MARK, looks_like_header};
use crate::message::MessageId;
use crate::name::{Name, NameError};

/// The longest datagram of our form, in bytes. Networks do not fragment datagrams of this size.
pub(crate) const MOST_BYTES: usize = 1_200;
/// The longest datagram of the text form, in bytes, NUL included.
pub(crate) const MOST_TEXT_BYTES: usize = 1_023;

const MAGIC: [u8; 4] = [0x00, 0x44, 0x4c, 0x31];
const MESSAGE: u8 = 1;
const ACK: u8 = 2;

/// A decoded datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datagram<'a> {
    /// A message of our form. Its sender expects an acknowledgement.
    Message(Letter<'a>),
    /// The recipient has stored the message with this id.
    Ack(MessageId),
    /// A message of the text form.
    Text {
        /// The sender, unverified.
        from: Name,
        /// Never empty.
        body: &'a [u8],
    },
}

/// An instant message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter<'a> {
    /// The same in every copy of the message, however it is sent.
    pub(crate) id: MessageId,
    /// The time of writing by the sender's clock, in milliseconds since 1970.
    pub(crate) at: u64,
    /// The sender, unverified.
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

/// Decodes a whole datagram.
///
/// # Errors
/// The reason to drop it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
    if bytes.first() != Some(&0) {
        return decode_text(bytes);
    }
    if bytes.len() > MOST_BYTES {
        return Err(Malformed::TooLong);
    }
    let mut rest = bytes.strip_prefix(&MAGIC).ok_or(Malformed::Form)?;
    let [kind] = *array(&mut rest)?;
    let id = MessageId(*array(&mut rest)?);
    match kind {
        MESSAGE => {
            let at = u64::from_be_bytes(*array(&mut rest)?);
            let [from] = *array(&mut rest)?;
            let from = Name::new(take(&mut rest, from.into())?)?;
            let [to] = *array(&mut rest)?;
            let to = Name::new(take(&mut rest, to.into())?)?;
            let len = u16::from_be_bytes(*array(&mut rest)?);
            if usize::from(len) != rest.len() {
                return Err(Malformed::Lengths);
            }
            if rest.is_empty() {
                return Err(Malformed::Empty);
            }
            Ok(Datagram::Message(Letter {
                id,
                at,
                from,
                to,
                body: rest,
            }))
        }
        ACK if rest.is_empty() => Ok(Datagram::Ack(id)),
        ACK => Err(Malformed::Lengths),
        other => Err(Malformed::Type(other)),
    }
}

fn decode_text(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
    if bytes.len() > MOST_TEXT_BYTES {
        return Err(Malformed::TooLong);
    }
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    let text = &bytes[..end];
    let line = memchr::memchr(b'\n', text).ok_or(Malformed::Form)?;
    let from = text[..line]
        .strip_suffix(INSTANT_MARK)
        .ok_or(Malformed::Form)?;
    let from = Name::new(from)?;
    let body = &text[line + 1..];
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    if body.is_empty() {
        return Err(Malformed::Empty);
    }
    Ok(Datagram::Text { from, body })
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (taken, left) = rest.split_at_checked(len).ok_or(Malformed::Lengths)?;
    *rest = left;
    Ok(taken)
}

fn array<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Malformed> {
    let (taken, left) = rest.split_first_chunk().ok_or(Malformed::Lengths)?;
    *rest = left;
    Ok(taken)
}

/// Encodes a message in our form.
///
/// # Errors
/// When the message is empty or too long. A message that is too long must go through the server.
pub(crate) fn encode(message: &Letter<'_>) -> Result<Vec<u8>, Unfit> {
    if message.body.is_empty() {
        return Err(Unfit::Empty);
    }
    let mut bytes = head(MESSAGE, message.id);
    bytes.extend_from_slice(&message.at.to_be_bytes());
    for name in [&message.from, &message.to] {
        let len = u8::try_from(name.as_bytes().len()).map_err(|_| Unfit::TooLong)?;
        bytes.push(len);
        bytes.extend_from_slice(name.as_bytes());
    }
    let len = u16::try_from(message.body.len()).map_err(|_| Unfit::TooLong)?;
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(message.body);
    if bytes.len() > MOST_BYTES {
        return Err(Unfit::TooLong);
    }
    Ok(bytes)
}

/// Encodes the acknowledgement of a message.
pub(crate) fn encode_ack(id: MessageId) -> Vec<u8> {
    head(ACK, id)
}

fn head(kind: u8, id: MessageId) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(&id.0);
    bytes
}

/// Encodes a message in the text form. A tab precedes each body line that a reader could take for a header.
///
/// # Errors
/// When the message is empty, too long or contains a NUL. In the last two cases it must go through the server.
pub(crate) fn encode_text(from: &Name, body: &[u8]) -> Result<Vec<u8>, Unfit> {
    if body.is_empty() {
        return Err(Unfit::Empty);
    }
    if body.contains(&0) {
        return Err(Unfit::Nul);
    }
    if body.len() > MOST_TEXT_BYTES {
        return Err(Unfit::TooLong);
    }
    let mut bytes = [from.as_bytes(), INSTANT_MARK, b"\n"].concat();
    for line in body.split(|&b| b == b'\n') {
        if looks_like_header(line) {
            bytes.push(b'\t');
        }
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    bytes.push(0);
    if bytes.len() > MOST_TEXT_BYTES {
        return Err(Unfit::TooLong);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const NAME: &str = "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}";

    fn n(text: &str) -> Name {
        Name::new(text.as_bytes()).expect("a name")
    }

    fn message<'a>(from: &str, to: &str, body: &'a [u8]) -> Letter<'a> {
        Letter {
            id: MessageId([7; 16]),
            at: 0x0102_0304_0506_0708,
            from: n(from),
            to: n(to),
            body,
        }
    }

    #[test]
    fn our_form_is_these_bytes() {
        let bytes = encode(&message("al", "bob", b"hi")).expect("fits");
        let mut expected = b"\0DL1\x01".to_vec();
        expected.extend([7; 16]);
        expected.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        expected.extend(b"\x02al\x03bob\x00\x02hi");
        assert_eq!(bytes, expected);
        let ack = [&b"\0DL1\x02"[..], &[7; 16]].concat();
        assert_eq!(encode_ack(MessageId([7; 16])), ack);
        assert_eq!(decode(&ack), Ok(Datagram::Ack(MessageId([7; 16]))));
    }

    #[test]
    fn the_text_form_is_these_bytes() {
        let bytes = encode_text(&n("al"), b"hi").expect("fits");
        assert_eq!(bytes, b"al (Instat Msg)>\nhi\n\0");
        let text = |body| {
            Ok(Datagram::Text {
                from: n("al"),
                body,
            })
        };
        for same in [
            &bytes[..],
            b"al (Instat Msg)>\nhi\n",
            b"al (Instat Msg)>\nhi",
            b"al (Instat Msg)>\nhi\0junk",
        ] {
            assert_eq!(decode(same), text(b"hi"));
        }
        assert_eq!(decode(b"al (Instat Msg)>\na\n\nb\n\n"), text(b"a\n\nb\n"));
    }

    #[test]
    fn body_lines_are_not_taken_for_headers() {
        let bytes =
            encode_text(&n("al"), b"x\nbob (Instat Msg)>\n\tc (Instat Msg)>").expect("fits");
        assert_eq!(
            bytes,
            b"al (Instat Msg)>\nx\n\tbob (Instat Msg)>\n\tc (Instat Msg)>\n\0"
        );
        let first = encode_text(&n("al"), b"bob (msg offline)> ").expect("fits");
        assert_eq!(first, b"al (Instat Msg)>\n\tbob (msg offline)> \n\0");
    }

    #[test]
    fn oversized_messages_are_refused_and_not_truncated() {
        let room = MOST_BYTES - encode(&message("al", "bob", b"x")).expect("fits").len() + 1;
        let body = vec![b'x'; room + 1];
        assert!(encode(&message("al", "bob", &body[..room])).is_ok());
        assert_eq!(encode(&message("al", "bob", &body)), Err(Unfit::TooLong));
        assert_eq!(encode(&message("al", "bob", b"")), Err(Unfit::Empty));
        let room = MOST_TEXT_BYTES - encode_text(&n("al"), b"x").expect("fits").len() + 1;
        assert!(encode_text(&n("al"), &body[..room]).is_ok());
        assert_eq!(
            encode_text(&n("al"), &body[..room + 1]),
            Err(Unfit::TooLong)
        );
        assert_eq!(encode_text(&n("al"), b"a\0b"), Err(Unfit::Nul));
        assert_eq!(encode_text(&n("al"), b""), Err(Unfit::Empty));
    }

    #[test]
    fn junk_is_refused() {
        for (junk, why) in [
            (&b""[..], Malformed::Form),
            (b"hello", Malformed::Form),
            (b"al (Instat Msg)>", Malformed::Form),
            (b"al (Instat Msg)>\n\n", Malformed::Empty),
            (b"al (Instat Msg)>\n\0hidden", Malformed::Empty),
            (b"\0", Malformed::Form),
            (b"\0DL2", Malformed::Form),
            (
                b"a b (Instat Msg)>\nx",
                Malformed::Name(NameError::Character),
            ),
            (&[b'x'; MOST_TEXT_BYTES + 1], Malformed::TooLong),
            (&[0; MOST_BYTES + 1], Malformed::TooLong),
        ] {
            assert_eq!(decode(junk), Err(why), "{}", junk.escape_ascii());
        }
        let mut other = encode_ack(MessageId([0; 16]));
        other[4] = 3;
        assert_eq!(decode(&other), Err(Malformed::Type(3)));
    }

    proptest! {
        #[test]
        fn our_form_is_decoded_as_it_was_encoded(
            from in NAME, to in NAME, at in any::<u64>(), id in any::<[u8; 16]>(),
            body in prop::collection::vec(any::<u8>(), 1..1000),
        ) {
            let message = Letter { id: MessageId(id), at, from: n(&from), to: n(&to), body: &body };
            let bytes = encode(&message).expect("fits");
            prop_assert_eq!(decode(&bytes), Ok(Datagram::Message(message)));
            let ack = encode_ack(MessageId(id));
            prop_assert_eq!(decode(&ack), Ok(Datagram::Ack(MessageId(id))));
            for short in 0..bytes.len() {
                prop_assert!(decode(&bytes[..short]).is_err());
            }
            for more in 0..=255 {
                prop_assert!(decode(&[&bytes[..], &[more]].concat()).is_err());
            }
        }

        #[test]
        fn the_text_form_is_decoded_as_it_was_encoded(
            from in NAME, body in prop::collection::vec(1..=255u8, 1..900),
        ) {
            let bytes = encode_text(&n(&from), &body).expect("fits");
            prop_assert_eq!(bytes.last(), Some(&0));
            let from = n(&from);
            prop_assert_eq!(decode(&bytes), Ok(Datagram::Text { from, body: &body }));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..1300), ours in any::<bool>(), kind in 1..=2u8,
        ) {
            let head = [&MAGIC[..], &[kind]].concat();
            let _ = decode(&bytes);
            let _ = decode(&[if ours { &head[..] } else { b"al (Instat Msg)>\n" }, &bytes].concat());
        }
    }
}
