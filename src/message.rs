//! Messages, before and after they are stored.
#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};
use std::io;
use std::str::FromStr;

use crate::name::Name;
use crate::sys::random;

/// The largest value of `max_body`, in bytes.
pub(crate) const LARGEST_MAX_BODY: usize = 1 << 20;

/// Returns whether `c` could control a terminal or mislead the reader of a line: a control character, a formatting
/// character of Unicode's bidirectional algorithm (UAX #9), a separator of lines, or a filler of Hangul, which looks
/// like one or two spaces.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
}

/// Escapes the characters of serialized JSON that [`is_deceptive`] finds. The value stays the same.
pub(crate) fn escaped_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_deceptive(c) {
            // All of them are in the basic multilingual plane.
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// The form of instant messages that a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// The text of the old client.
    Text,
    /// Datagrams that are sealed with a ticket of the server, and acknowledged.
    Sealed,
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Sealed => "sealed",
        })
    }
}

impl FromStr for Speaks {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "sealed" => Ok(Self::Sealed),
            _ => Err(()),
        }
    }
}

/// A 128-bit message id. A sender may send a message again with its id; see [`MessageKey`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MessageId(pub(crate) [u8; 16]);

impl MessageId {
    /// Returns a new id from the kernel's random numbers, so that a forked child never repeats an id of its parent.
    ///
    /// # Errors
    /// Those of `getrandom(2)`.
    pub(crate) fn random() -> io::Result<Self> {
        random::array().map(Self)
    }

    /// Returns the id as 32 hexadecimal digits.
    pub(crate) fn hex(&self) -> [u8; 32] {
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&hex_digits(byte));
        }
        hex
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = ();

    /// Parses 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        from_hex(text).map(Self).ok_or(())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// Formats bytes as hexadecimal digits.
pub(crate) struct Hex<'b>(pub(crate) &'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .flat_map(|byte| hex_digits(*byte))
            .try_for_each(|digit| f.write_char(digit.into()))
    }
}

fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)])
}

/// Parses exactly `2 * N` hexadecimal digits.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |of: u8| char::from(of).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

/// The random number with which an online client proves that a lease is its own, and names it in later requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseToken(pub(crate) [u8; 8]);

/// The secret that an online client shares with the server. Keys for messages to the client are derived from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TicketSecret(pub(crate) [u8; 32]);

impl LeaseToken {
    /// Returns a new token from the kernel's random numbers.
    ///
    /// # Errors
    /// Those of `getrandom(2)`.
    pub(crate) fn random() -> io::Result<Self> {
        random::array().map(Self)
    }
}

impl TicketSecret {
    /// Returns a new secret from the kernel's random numbers.
    ///
    /// # Errors
    /// Those of `getrandom(2)`.
    pub(crate) fn random() -> io::Result<Self> {
        random::array().map(Self)
    }
}

/// The token does not appear in logs and error messages.
impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseToken(..)")
    }
}

/// The secret does not appear in logs and error messages.
impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret(..)")
    }
}

/// How far the name of a sender can be trusted. The numbers are part of the spool format and of sealed datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// The client stated the name; it was not verified.
    Open = 0,
    /// The kernel of this machine verified the name.
    Local = 1,
}

impl Trust {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Open),
            1 => Some(Self::Local),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Trust {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "open" => Ok(Self::Open),
            "local" => Ok(Self::Local),
            _ => Err(()),
        }
    }
}

/// What identifies a message. The id alone does not: another sender can learn it and use it again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MessageKey {
    /// How far the sender can be trusted.
    pub(crate) trust: Trust,
    pub(crate) from: Name,
    pub(crate) id: MessageId,
}

/// Further fields of a stored message in the encoding of its record: for each the type (u16) and the length of the
/// value (u16), both little-endian, and the value. No type is defined yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The largest size of the fields of one message, in bytes.
    pub(crate) const MOST_BYTES: usize = 4_096;

    /// Validates encoded fields. Returns `None` when they are truncated or too long.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while let Some((head, behind)) = rest.split_first_chunk::<4>() {
            let len = u16::from_le_bytes([head[2], head[3]]);
            rest = behind.get(usize::from(len)..)?;
        }
        (rest.is_empty() && bytes.len() <= Self::MOST_BYTES).then_some(Self(bytes))
    }

    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// A message to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draft<'a> {
    pub(crate) id: MessageId,
    pub(crate) from: &'a Name,
    /// How far the sender can be trusted.
    pub(crate) trust: Trust,
    /// When it was accepted, in milliseconds since 1970.
    pub(crate) at: u64,
    /// When it expires, in milliseconds since 1970.
    pub(crate) expires: Option<u64>,
    /// Whether the sender chose the id and may repeat the message. It is then stored only if none of (at least) the
    /// last 4,096 messages of the mailbox has the same id, sender and trust.
    pub(crate) once: bool,
    /// The content: 1 to `max_body` arbitrary bytes.
    pub(crate) body: &'a [u8],
    pub(crate) fields: Fields<'a>,
}

impl Draft<'_> {
    /// Returns whether both have the same [`MessageKey`].
    pub(crate) fn is_same_message(&self, other: &Draft<'_>) -> bool {
        self.id == other.id && self.trust == other.trust && self.from == other.from
    }
}

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    /// Its number in the mailbox. Later messages have higher numbers, and no number is assigned twice.
    pub(crate) seq: u64,
    pub(crate) id: MessageId,
    pub(crate) from: Name,
    /// How far the sender can be trusted.
    pub(crate) trust: Trust,
    /// When it was accepted, in milliseconds since 1970.
    pub(crate) at: u64,
    /// When it expires, in milliseconds since 1970.
    pub(crate) expires: Option<u64>,
    /// Whether its sender may repeat it.
    pub(crate) once: bool,
    /// The content.
    pub(crate) body: &'a [u8],
    pub(crate) fields: Fields<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_whole_or_none() {
        let two = [1, 0, 2, 0, b'a', b'b', 9, 0, 0, 0];
        for len in 0..=two.len() {
            let is_whole = matches!(len, 0 | 6 | 10);
            assert_eq!(Fields::new(&two[..len]).is_some(), is_whole, "{len}");
        }
        let mut long = vec![1, 0, 0xfc, 0x0f];
        long.resize(4_096, 0);
        assert!(Fields::new(&long).is_some());
        long.extend([1, 0, 0, 0]);
        assert!(Fields::new(&long).is_none());
    }

    #[test]
    fn escaped_json_has_the_same_value_and_controls_no_terminal() {
        let text = "a\u{9b}2J\u{85}\u{202e}b\u{2066}\u{2028}\u{7f}\n\u{e9}";
        let json = escaped_json(&serde_json::to_string(text).expect("JSON"));
        assert!(!json.contains(is_deceptive), "{json:?}");
        assert!(json.contains("\\u009b2J\\u0085\\u202eb"), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
    }

    #[test]
    fn ids_and_trust_are_written_and_read() {
        let id = MessageId(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in [
            "",
            "12",
            &"x".repeat(32),
            &format!("+{}", "1".repeat(31)),
            &"1".repeat(33),
            &"\u{e9}".repeat(16),
        ] {
            assert_eq!(wrong.parse::<MessageId>(), Err(()), "{wrong}");
        }
        for trust in [Trust::Open, Trust::Local] {
            assert_eq!(trust.to_string().parse(), Ok(trust));
            assert_eq!(Trust::from_number(trust as u8), Some(trust));
        }
    }
}
