//! The format of a record. Encoding and decoding do no I/O.
//!
//! All numbers are little-endian. The offset and the length of a record are multiples of 8 bytes.
//!
//! ```text
//!  0  magic        u32    32  accepted at  u64, ms since 1970   sender
//!  4  epoch        u32    40  expires at   u64, or 0            body
//!  8  seq          u64    48  body length  u32                  fields, then zeros up to a multiple of 8
//! 16  id      16 bytes    52  sender len.  u8                   then the trailer:
//!                         53  trust        u8                    0  seq         u64
//!                         54  flags        u16, 1: once          8  length      u32, of the record
//!                         56  fields len.  u32                  12  checksum    u32, of sender..zeros
//!                         60  checksum     u32, of 0..60        16  magic       u32
//!                                                               20  checksum    u32, of 0..20
//! ```
//!
//! Checksums are CRC-32, seeded with the epoch of the file and an offset (the beginning of the record, or the end of
//! the trailer for its own checksum). Stale bytes from another file or offset are therefore invalid. With the trailer,
//! one read at the end of the file finds the last record.
//!
//! A field is its type (u16), the length of its value (u16) and the value. Every copy keeps fields of unknown type.
//! Records of format 1 have no fields.

use crate::message::{Draft, Fields, LARGEST_MAX_BODY, MessageId, Stored, Trust};
use crate::name::{MAX_NAME, Name};

/// The magic number at the beginning of a record.
pub(crate) const MAGIC: [u8; 4] = *b"DlR\x01";
const TRAILER_MAGIC: [u8; 4] = *b"DlT\x01";
/// The flag of a message that its sender may send again with the same id.
const ONCE: u16 = 1;
/// The length of the fixed part at the beginning of a record, in bytes.
pub(crate) const HEAD: usize = 64;
/// The length of the fixed part at the end of a record, in bytes.
pub(crate) const TRAILER: usize = 24;

/// The fixed part at the beginning of a record, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) id: MessageId,
    pub(crate) at: u64,
    expires: u64,
    pub(crate) trust: Trust,
    pub(crate) once: bool,
    pub(crate) sender_len: usize,
    body_len: usize,
    fields_len: usize,
}

impl Head {
    /// Returns when the message expires, in milliseconds since 1970.
    pub(crate) fn expires(&self) -> Option<u64> {
        (self.expires > 0).then_some(self.expires)
    }

    /// Returns the length of the whole record, in bytes.
    pub(crate) fn record_len(&self) -> usize {
        record_len(self.sender_len, self.body_len, self.fields_len)
    }
}

/// The trailer of a record, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) seq: u64,
    /// The length of the whole record, in bytes.
    pub(crate) record_len: u64,
}

/// Returns the length of the record of `draft`, in bytes.
pub(crate) fn len_of(draft: &Draft<'_>) -> usize {
    record_len(
        draft.from.as_bytes().len(),
        draft.body.len(),
        draft.fields.as_bytes().len(),
    )
}

/// Appends the record of `draft` with number `seq` to `out`, to be written at `offset`.
pub(crate) fn encode(out: &mut Vec<u8>, draft: &Draft<'_>, seq: u64, epoch: u32, offset: u64) {
    let sender = draft.from.as_bytes();
    let start = out.len();
    let fields = draft.fields.as_bytes();
    let len = len_of(draft);
    out.reserve(len);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&draft.id.0);
    out.extend_from_slice(&draft.at.to_le_bytes());
    out.extend_from_slice(&draft.expires.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&u32_len(draft.body.len()).to_le_bytes());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a name has at most 50 bytes"
    )]
    out.push(sender.len() as u8);
    out.push(draft.trust as u8);
    out.extend_from_slice(&(if draft.once { ONCE } else { 0 }).to_le_bytes());
    out.extend_from_slice(&u32_len(fields.len()).to_le_bytes());
    push_checksum(out, start, epoch, offset);
    let data = out.len();
    out.extend_from_slice(sender);
    out.extend_from_slice(draft.body);
    out.extend_from_slice(fields);
    out.resize(start + len - TRAILER, 0);
    let data_checksum = checksum(&out[data..], epoch, offset);
    let trailer = out.len();
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&u32_len(len).to_le_bytes());
    out.extend_from_slice(&data_checksum.to_le_bytes());
    out.extend_from_slice(&TRAILER_MAGIC);
    push_checksum(out, trailer, epoch, offset + len as u64);
}

/// Decodes the head at the beginning of `bytes`, which were read at `offset`; `None` when it is invalid.
pub(crate) fn decode_head(bytes: &[u8], epoch: u32, offset: u64) -> Option<Head> {
    let head: &[u8; HEAD] = bytes.first_chunk()?;
    if head[..4] != MAGIC || u32_at(head, 4) != epoch {
        return None;
    }
    if checksum(&head[..60], epoch, offset) != u32_at(head, 60) {
        return None;
    }
    let head = Head {
        seq: u64_at(head, 8),
        id: MessageId(*head[16..].first_chunk()?),
        at: u64_at(head, 32),
        expires: u64_at(head, 40),
        trust: Trust::from_number(head[53])?,
        once: u16::from_le_bytes([head[54], head[55]]) & ONCE != 0,
        sender_len: usize::from(head[52]),
        body_len: u32_at(head, 48) as usize,
        fields_len: u32_at(head, 56) as usize,
    };
    let is_possible = head.sender_len <= MAX_NAME
        && head.body_len <= LARGEST_MAX_BODY
        && head.fields_len <= Fields::MOST_BYTES;
    is_possible.then_some(head)
}

/// Decodes the record with this `head` at the beginning of `bytes`, which were read at `offset`; `None` when
/// it is not whole.
pub(crate) fn decode<'a>(
    bytes: &'a [u8],
    head: &Head,
    epoch: u32,
    offset: u64,
) -> Option<Stored<'a>> {
    if is_whole(bytes, head, epoch, offset) {
        decode_whole(bytes, head)
    } else {
        None
    }
}

/// Returns whether `bytes`, which were read at `offset`, hold the whole record of `head` with valid checksums.
pub(crate) fn is_whole(bytes: &[u8], head: &Head, epoch: u32, offset: u64) -> bool {
    let Some(bytes) = bytes.get(..head.record_len()) else {
        return false;
    };
    let (rest, trailer) = bytes.split_at(bytes.len() - TRAILER);
    let end = offset + bytes.len() as u64;
    let data = &rest[HEAD..];
    let is_this = |trailer: Trailer| trailer.seq == head.seq;
    decode_trailer(trailer, epoch, end).is_some_and(is_this)
        && checksum(data, epoch, offset) == u32_at(trailer, 12)
        && Name::new(&data[..head.sender_len]).is_ok()
        && Fields::new(&data[head.sender_len + head.body_len..][..head.fields_len]).is_some()
}

/// Decodes a record that [`is_whole`] has accepted.
pub(crate) fn decode_whole<'a>(bytes: &'a [u8], head: &Head) -> Option<Stored<'a>> {
    let (sender, rest) = bytes.get(HEAD..)?.split_at_checked(head.sender_len)?;
    let (body, rest) = rest.split_at_checked(head.body_len)?;
    Some(Stored {
        seq: head.seq,
        id: head.id,
        from: Name::new(sender).ok()?,
        trust: head.trust,
        at: head.at,
        expires: head.expires(),
        once: head.once,
        body,
        fields: Fields::new(rest.get(..head.fields_len)?)?,
    })
}

/// Decodes a trailer that ends at `end`; `None` when it is invalid.
pub(crate) fn decode_trailer(bytes: &[u8], epoch: u32, end: u64) -> Option<Trailer> {
    let bytes: &[u8; TRAILER] = bytes.try_into().ok()?;
    let valid = bytes[16..20] == TRAILER_MAGIC
        && checksum(&bytes[..20], epoch, end) == u32_at(bytes, 20)
        && u64::from(u32_at(bytes, 8)) <= end;
    valid.then(|| Trailer {
        seq: u64_at(bytes, 0),
        record_len: u64::from(u32_at(bytes, 8)),
    })
}

/// Returns the epoch field if `bytes` begin with the magic number of a record. Does not verify the checksum.
pub(crate) fn claimed_epoch(bytes: &[u8]) -> Option<u32> {
    (bytes.len() >= 8 && bytes[..4] == MAGIC).then(|| u32_at(bytes, 4))
}

/// Returns the CRC-32 of `bytes`, seeded with the epoch of a file and an offset in it.
pub(crate) fn checksum(bytes: &[u8], epoch: u32, place: u64) -> u32 {
    let mut seed = [0; 12];
    seed[..4].copy_from_slice(&epoch.to_le_bytes());
    seed[4..].copy_from_slice(&place.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seed);
    hasher.update(bytes);
    hasher.finalize()
}

fn push_checksum(out: &mut Vec<u8>, from: usize, epoch: u32, place: u64) {
    let sum = checksum(&out[from..], epoch, place);
    out.extend_from_slice(&sum.to_le_bytes());
}

const fn record_len(sender_len: usize, body_len: usize, fields_len: usize) -> usize {
    (HEAD + sender_len + body_len + fields_len).next_multiple_of(8) + TRAILER
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a record is a little over 1 MiB at most"
)]
fn u32_len(len: usize) -> u32 {
    len as u32
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |b| u32::from_le_bytes(*b))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |b| u64::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn sample<'a>(from: &'a Name, body: &'a [u8]) -> Draft<'a> {
        Draft {
            id: MessageId([7; 16]),
            from,
            trust: Trust::Open,
            at: 1_795_300_000_123,
            expires: Some(1_795_300_001_000),
            once: true,
            body,
            fields: Fields::default(),
        }
    }

    fn read(bytes: &[u8], epoch: u32, offset: u64) -> Option<Stored<'_>> {
        decode(bytes, &decode_head(bytes, epoch, offset)?, epoch, offset)
    }

    proptest! {
        #[test]
        fn round_trip(
            from in "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}",
            body in prop::collection::vec(any::<u8>(), 1..500),
            seq: u64, epoch: u32, place in 128_u64..1 << 40,
        ) {
            let offset = place * 8;
            let from = Name::new(from.as_bytes()).expect("a name");
            let draft = sample(&from, &body);
            let mut bytes = Vec::new();
            encode(&mut bytes, &draft, seq, epoch, offset);
            assert_eq!(bytes.len() % 8, 0);
            let stored = read(&bytes, epoch, offset).expect("a record");
            assert_eq!((stored.seq, stored.id, &stored.from), (seq, draft.id, &from));
            assert_eq!((stored.at, stored.expires, stored.body), (draft.at, draft.expires, &body[..]));
            let end = offset + bytes.len() as u64;
            let trailer = &bytes[bytes.len() - TRAILER..];
            let record_len = bytes.len() as u64;
            assert_eq!(decode_trailer(trailer, epoch, end), Some(Trailer { seq, record_len }));
            assert_eq!(read(&bytes, epoch, offset + 8), None, "at another place");
            assert_eq!(read(&bytes, epoch ^ 1, offset), None, "in another file");
        }
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let from = Name::new(b"george").expect("a name");
        let mut bytes = Vec::new();
        encode(&mut bytes, &sample(&from, b"hi Kyriakos"), 3, 9, 1024);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&bytes, 9, 1024), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(read(&bytes, 9, 1024).is_some());
    }

    #[test]
    fn a_part_of_a_record_is_rejected() {
        let from = Name::new(b"george").expect("a name");
        let mut bytes = Vec::new();
        encode(&mut bytes, &sample(&from, b"hi Kyriakos"), 3, 9, 1024);
        assert!((0..bytes.len()).all(|len| read(&bytes[..len], 9, 1024).is_none()));
    }
}
