//! How the inbox's log looks: a head, and entries one after the other.
//!
//! ```text
//! head:     "DLINBOX1" | mark (8 bytes)
//! entry:    mark (8 bytes) | length of what follows the sum (u32) | CRC-32 of length and what follows | kind u8 | id (16 bytes) | ...
//! received: trust u8 | time u64 | u8 + sender | body
//! shown:    nothing
//! ```
//!
//! The mark is random and each file's own. It is how reading goes on behind a damaged entry, and nobody who
//! sends a message can put an entry of his own into it, for he does not know the mark.

use crate::message::{MessageId, Trust};
use crate::name::Name;

/// What each entry of a file begins with.
pub(super) type SyncMarker = [u8; 8];

const MAGIC: &[u8; 8] = b"DLINBOX1";
/// The bytes of the head.
pub(super) const HEAD: usize = 16;
/// The bytes of an entry before its kind.
const FRAME: usize = 16;
const RECEIVED: u8 = 1;
const SHOWN: u8 = 2;

/// A message as it came from another client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct ReceivedMessage {
    /// Its id.
    pub(in crate::client) id: MessageId,
    /// Who sent it.
    pub(in crate::client) from: Name,
    /// How far that can be believed.
    pub(in crate::client) trust: Trust,
    /// When it was written, in milliseconds since 1970.
    pub(in crate::client) at: u64,
    /// What it says.
    pub(in crate::client) body: Vec<u8>,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InboxEntry {
    /// A message has come.
    Received(ReceivedMessage),
    /// The message with this id was shown, whichever way it came.
    Shown(MessageId),
}

/// The head of a file with this mark.
pub(super) fn encode_head(mark: SyncMarker) -> Vec<u8> {
    [*MAGIC, mark].concat()
}

/// The mark in the head of a file; `None` when it is no head.
pub(super) fn decode_head(head: &[u8]) -> Option<SyncMarker> {
    head.strip_prefix(MAGIC)?.try_into().ok()
}

/// Appends an entry.
pub(super) fn encode(out: &mut Vec<u8>, mark: SyncMarker, entry: &InboxEntry) {
    let mut text = Vec::new();
    match entry {
        InboxEntry::Received(message) => {
            text.push(RECEIVED);
            text.extend_from_slice(&message.id.0);
            text.push(message.trust as u8);
            text.extend_from_slice(&message.at.to_be_bytes());
            // A name has at most 50 bytes.
            text.push(u8::try_from(message.from.as_bytes().len()).unwrap_or(u8::MAX));
            text.extend_from_slice(message.from.as_bytes());
            text.extend_from_slice(&message.body);
        }
        InboxEntry::Shown(id) => {
            text.push(SHOWN);
            text.extend_from_slice(&id.0);
        }
    }
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&mark);
    out.extend_from_slice(&len);
    out.extend_from_slice(&sum(len, &text).to_be_bytes());
    out.extend_from_slice(&text);
}

fn sum(len: [u8; 4], text: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&len);
    sum.update(text);
    sum.finalize()
}

/// What was found in a piece of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The whole entries, in order.
    pub(super) entries: Vec<InboxEntry>,
    /// Where the last of them ends. What is behind it is torn: its writer never got as far as to say that
    /// it was written.
    pub(super) end: usize,
    /// How many bytes before that are no entries.
    pub(super) damaged: usize,
}

/// Reads entries, and goes on behind what is none.
pub(super) fn scan(bytes: &[u8], mark: SyncMarker) -> Scan {
    let mut scan = Scan::default();
    let marks = memchr::memmem::Finder::new(&mark);
    let mut at = 0;
    while let Some(found) = marks.find(&bytes[at..]) {
        at += found;
        match decode(&bytes[at..], mark) {
            Some((entry, len)) => {
                scan.damaged += at - scan.end;
                at += len;
                scan.end = at;
                scan.entries.push(entry);
            }
            None => at += 1,
        }
    }
    scan
}

/// The entry that `bytes` begin with, and its length.
fn decode(bytes: &[u8], mark: SyncMarker) -> Option<(InboxEntry, usize)> {
    let rest = bytes.strip_prefix(&mark)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let text = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    if sum(*len, text) != u32::from_be_bytes(*crc) {
        return None;
    }
    let (kind, rest) = text.split_first()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let id = MessageId(*id);
    let entry = match *kind {
        RECEIVED => {
            let (trust, rest) = rest.split_first()?;
            let (at, rest) = rest.split_first_chunk::<8>()?;
            let (len, rest) = rest.split_first()?;
            let (from, body) = rest.split_at_checked(usize::from(*len))?;
            InboxEntry::Received(ReceivedMessage {
                id,
                from: Name::new(from).ok()?,
                trust: Trust::from_number(*trust)?,
                at: u64::from_be_bytes(*at),
                body: body.to_vec(),
            })
        }
        SHOWN if rest.is_empty() => InboxEntry::Shown(id),
        _ => return None,
    };
    Some((entry, FRAME + text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const MARK: SyncMarker = *b"\xffmarked\xfe";

    fn received(number: u8, body: &[u8]) -> InboxEntry {
        InboxEntry::Received(ReceivedMessage {
            id: MessageId([number; 16]),
            from: Name::new(b"al").expect("a name"),
            trust: Trust::Open,
            at: 5,
            body: body.to_vec(),
        })
    }

    fn log(entries: &[InboxEntry]) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            encode(&mut out, MARK, entry);
        }
        out
    }

    #[test]
    fn a_head_has_a_mark() {
        let head = encode_head(MARK);
        assert_eq!(head.len(), HEAD);
        assert_eq!(decode_head(&head), Some(MARK));
        assert_eq!(decode_head(&head[..15]), None);
        assert_eq!(decode_head(&[0; 16]), None);
    }

    #[test]
    fn a_damaged_entry_costs_itself_alone() {
        let entries = [
            received(1, b"one"),
            received(2, b"two"),
            InboxEntry::Shown(MessageId([1; 16])),
        ];
        let bytes = log(&entries);
        let (first, second) = (log(&entries[..1]).len(), log(&entries[..2]).len());
        for at in first..second {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let scan = scan(&damaged, MARK);
            assert_eq!(scan.entries, [entries[0].clone(), entries[2].clone()]);
            assert_eq!((scan.damaged, scan.end), (second - first, bytes.len()));
        }
    }

    #[test]
    fn a_message_cannot_hide_an_entry() {
        let mut inner = Vec::new();
        encode(&mut inner, *b"guessed!", &received(9, b"forged"));
        let mut bytes = log(&[received(1, &inner), received(2, b"x")]);
        bytes[40] ^= 1;
        assert_eq!(scan(&bytes, MARK).entries, [received(2, b"x")]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_a_torn_end_is_found(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..6),
        ) {
            let entries: Vec<_> = (0..).zip(&bodies).map(|(n, body)| received(n, body)).collect();
            let bytes = log(&entries);
            for cut in 0..=bytes.len() {
                let scan = scan(&bytes[..cut], MARK);
                let whole = scan.entries.len();
                prop_assert_eq!(&scan.entries[..], &entries[..whole]);
                prop_assert_eq!(scan.end, log(&entries[..whole]).len());
                prop_assert!(whole == entries.len() || log(&entries[..=whole]).len() > cut);
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = scan(&[&MARK[..], &bytes].concat(), MARK);
            let _ = decode_head(&bytes);
        }
    }
}
