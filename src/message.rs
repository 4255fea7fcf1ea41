//! Messages, before and after they are stored.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::name::Name;
use crate::sys::random;

/// The largest value of `max_body`, in bytes.
pub(crate) const LARGEST_MAX_BODY: usize = 1 << 20;

/// Returns whether `c` could control a terminal or mislead the reader of a line: a control character, a formatting
/// character of Unicode's bidirectional algorithm (UAX #9), or a separator of lines.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    /// Datagrams, which are acknowledged.
    Datagram,
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Datagram => "datagram",
        })
    }
}

impl FromStr for Speaks {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "datagram" => Ok(Self::Datagram),
            _ => Err(()),
        }
    }
}

/// A 128-bit message id. Two messages of the same sender with the same id are the same message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MessageId(pub(crate) [u8; 16]);

impl MessageId {
    /// Returns a new id from the kernel's random numbers, so that a forked child never repeats an id of its parent.
    ///
    /// # Errors
    /// Those of `getrandom(2)`.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        random::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Returns the id as 32 hexadecimal digits.
    pub(crate) fn hex(&self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        }
        hex
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl FromStr for MessageId {
    type Err = ();

    /// Parses 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(number) if digits && text.len() == 32 => Ok(Self(number.to_be_bytes())),
            _ => Err(()),
        }
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// How far the name of a sender can be trusted. The numbers are part of the spool format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Trust {
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
    /// last 4,096 messages of the mailbox has the same id and sender.
    pub(crate) once: bool,
    /// The content: 1 to `max_body` arbitrary bytes.
    pub(crate) body: &'a [u8],
    pub(crate) fields: Fields<'a>,
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
        ] {
            assert_eq!(wrong.parse::<MessageId>(), Err(()), "{wrong}");
        }
        for trust in [Trust::Open, Trust::Local] {
            assert_eq!(trust.to_string().parse(), Ok(trust));
            assert_eq!(Trust::from_number(trust as u8), Some(trust));
        }
    }
}
