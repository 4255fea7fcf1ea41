//! Messages, before and after they are stored.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::name::Name;
use crate::sys::random;

/// What `max_body` can be set to at most, in bytes.
pub(crate) const LARGEST_MAX_BODY: usize = 1 << 20;

/// Which instant messages a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// The old text form.
    Text,
    /// Our datagrams, which are acknowledged.
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

/// 128 bits that tell one message from all others. The same id from the same sender is the same
/// message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MessageId(pub(crate) [u8; 16]);

impl MessageId {
    /// A new id, from the kernel's random numbers: a forked child never repeats its parent's.
    ///
    /// # Errors
    /// When the kernel has none (`getrandom(2)`).
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        random::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Its 32 hexadecimal digits.
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

    /// 32 hexadecimal digits.
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

/// How far a sender's name can be believed. The numbers are those of the spool's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It is a claim: anybody could have said it.
    Open = 0,
    /// The kernel of this machine has verified it.
    Local = 1,
}

impl Trust {
    /// The trust with this number, if there is one.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Open),
            1 => Some(Self::Local),
            _ => None,
        }
    }
}

impl Trust {
    /// The word for it.
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

/// Further fields of a stored message, as they lie in its record: of each the type (u16) and the length of the value
/// (u16), both little-endian, and the value. No type is defined yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The most bytes that the fields of one message take.
    pub(crate) const MOST_BYTES: usize = 4_096;

    /// The fields that `bytes` are; `None` when they are cut off, or too long.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while let Some((head, behind)) = rest.split_first_chunk::<4>() {
            let len = u16::from_le_bytes([head[2], head[3]]);
            rest = behind.get(usize::from(len)..)?;
        }
        (rest.is_empty() && bytes.len() <= Self::MOST_BYTES).then_some(Self(bytes))
    }

    /// The bytes that they are.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// A message that is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draft<'a> {
    /// Its id.
    pub(crate) id: MessageId,
    /// Who sent it.
    pub(crate) from: &'a Name,
    /// How far that can be believed.
    pub(crate) trust: Trust,
    /// When it was accepted, in milliseconds since 1970.
    pub(crate) at: u64,
    /// When it is of no use any more, in milliseconds since 1970.
    pub(crate) expires: Option<u64>,
    /// Whether the id is the sender's, who may send the same message again: then it is stored only if there
    /// is none with the same id from the same sender among (at least) the last 4,096 of the mailbox.
    pub(crate) once: bool,
    /// What it says: 1 byte to `max_body` bytes, any bytes.
    pub(crate) body: &'a [u8],
    /// Further fields.
    pub(crate) fields: Fields<'a>,
}

/// A message as it lies in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    /// Its place in the mailbox: later messages have higher ones, and none is given twice.
    pub(crate) seq: u64,
    /// Its id.
    pub(crate) id: MessageId,
    /// Who sent it.
    pub(crate) from: Name,
    /// How far that can be believed.
    pub(crate) trust: Trust,
    /// When it was accepted, in milliseconds since 1970.
    pub(crate) at: u64,
    /// When it is of no use any more, in milliseconds since 1970.
    pub(crate) expires: Option<u64>,
    /// Whether its sender may send it again.
    pub(crate) once: bool,
    /// What it says.
    pub(crate) body: &'a [u8],
    /// Further fields.
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
