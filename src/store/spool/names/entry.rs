//! The format of the index of registered names: entries of 64 bytes, and a header of the same size.
//!
//! ```text
//! 0  length of the name u8    header:  0  magic u32
//! 1  name                              8  number of entries u64
//! 51 kind u8
//! 52 time u64                          60 checksum u32, of 0..60
//! 60 checksum u32, of 0..60
//! ```

use crate::name::{MAX_NAME, Name};

/// The length of an entry, in bytes.
pub(super) const ENTRY: usize = 64;
const MAGIC: [u8; 4] = *b"DlN\x01";

/// What an entry says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is registered, since the time of the entry.
    Registered = 0,
    /// A process was about to register it.
    Registering = 1,
    /// A process was about to remove its registration.
    Removing = 2,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) kind: Kind,
    /// In milliseconds since 1970.
    pub(super) at: u64,
}

impl Entry {
    pub(super) fn encode(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        let name = self.name.as_bytes();
        bytes[0] = u8::try_from(name.len()).unwrap_or(0);
        bytes[1..=name.len()].copy_from_slice(name);
        bytes[51] = self.kind as u8;
        bytes[52..60].copy_from_slice(&self.at.to_le_bytes());
        with_checksum(bytes)
    }

    /// Decodes an entry; `None` if it is damaged or was not written completely.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = checked(bytes)?;
        let kind = match bytes[51] {
            0 => Kind::Registered,
            1 => Kind::Registering,
            2 => Kind::Removing,
            _ => return None,
        };
        let name = bytes[1..=MAX_NAME].get(..usize::from(bytes[0]))?;
        Some(Self {
            name: Name::new(name).ok()?,
            kind,
            at: u64::from_le_bytes(*bytes[52..].first_chunk()?),
        })
    }
}

/// Encodes the header of a file of `count` entries.
pub(super) fn encode_header(count: u64) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&count.to_le_bytes());
    with_checksum(bytes)
}

/// Decodes a header; returns the number of entries.
pub(super) fn decode_header(bytes: &[u8]) -> Option<u64> {
    let bytes = checked(bytes)?;
    let count = u64::from_le_bytes(*bytes[8..].first_chunk()?);
    (bytes[..4] == MAGIC).then_some(count)
}

fn with_checksum(mut bytes: [u8; ENTRY]) -> [u8; ENTRY] {
    let sum = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn checked(bytes: &[u8]) -> Option<&[u8; ENTRY]> {
    let bytes: &[u8; ENTRY] = bytes.first_chunk()?;
    (crc32fast::hash(&bytes[..60]).to_le_bytes() == bytes[60..]).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_whole_or_none() {
        for name in ["a", &"x".repeat(MAX_NAME)] {
            let entry = Entry {
                name: name.parse().expect("a name"),
                kind: Kind::Removing,
                at: 1_795_300_000_123,
            };
            let bytes = entry.encode();
            assert_eq!(Entry::decode(&bytes), Some(entry));
            for bit in 0..ENTRY * 8 {
                let mut other = bytes;
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Entry::decode(&other), None, "bit {bit}");
            }
            assert_eq!(decode_header(&bytes), None);
        }
        assert_eq!(Entry::decode(&[0; ENTRY]), None);
        assert_eq!(decode_header(&encode_header(7)), Some(7));
        assert_eq!(Entry::decode(&encode_header(7)), None);
    }
}
