//! The format of the inbox log: a head, followed by entries.
//!
//! ```text
//! head:     "DLINBOX1" | mark (8 bytes)
//! entry:    mark (8 bytes) | length of the payload (u32) | CRC-32 of length and payload (u32) | payload
//! payload:  kind u8 | id (16 bytes) | trust u8 | time u64 | u8 + sender | for a received message: body
//! ```
//!
//! The time is that of writing, for a received message, or that of showing. An older version wrote a payload of kind 2 with
//! the id alone. Numbers are big-endian. Each file has its own random mark. It locates the next entry after a damaged one. Senders do
//! not have the mark, so they cannot forge an entry inside a message.

use crate::message::{MessageId, MessageKey, Trust};
use crate::name::Name;

/// The mark at the beginning of each entry of a file.
pub(super) type SyncMarker = [u8; 8];

const MAGIC: &[u8; 8] = b"DLINBOX1";
/// Size of the head, in bytes.
pub(super) const HEAD: usize = 16;
/// Size of an entry without its payload, in bytes.
const FRAME: usize = 16;
const RECEIVED: u8 = 1;
const SHOWN_ID: u8 = 2;
const SHOWN: u8 = 3;

/// A message received from another client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct ReceivedMessage {
    pub(in crate::client) key: MessageKey,
    /// When it was written, in milliseconds since 1970.
    pub(in crate::client) at: u64,
    pub(in crate::client) body: Vec<u8>,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InboxEntry {
    /// A message was received.
    Received(ReceivedMessage),
    /// This message was shown, whether it was received here or read from the server, at this time in milliseconds since
    /// 1970.
    Shown(MessageKey, u64),
    /// Written by an older version: a message with this id was shown.
    ShownId(MessageId),
}

/// Encodes the head of a file.
pub(super) fn encode_head(mark: SyncMarker) -> Vec<u8> {
    [*MAGIC, mark].concat()
}

/// Decodes the head of a file into its mark; `None` if it is not a valid head.
pub(super) fn decode_head(head: &[u8]) -> Option<SyncMarker> {
    head.strip_prefix(MAGIC)?.try_into().ok()
}

/// Appends an encoded entry to `out`.
pub(super) fn encode(out: &mut Vec<u8>, mark: SyncMarker, entry: &InboxEntry) {
    let mut text = Vec::new();
    match entry {
        InboxEntry::Received(message) => {
            encode_key(&mut text, RECEIVED, &message.key, message.at);
            text.extend_from_slice(&message.body);
        }
        InboxEntry::Shown(key, at) => encode_key(&mut text, SHOWN, key, *at),
        InboxEntry::ShownId(id) => {
            text.push(SHOWN_ID);
            text.extend_from_slice(&id.0);
        }
    }
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&mark);
    out.extend_from_slice(&len);
    out.extend_from_slice(&sum(len, &text).to_be_bytes());
    out.extend_from_slice(&text);
}

fn encode_key(text: &mut Vec<u8>, kind: u8, key: &MessageKey, at: u64) {
    let from = key.from.as_bytes();
    text.push(kind);
    text.extend_from_slice(&key.id.0);
    text.push(key.trust as u8);
    text.extend_from_slice(&at.to_be_bytes());
    // A name has at most 50 bytes.
    text.push(u8::try_from(from.len()).unwrap_or(u8::MAX));
    text.extend_from_slice(from);
}

fn sum(len: [u8; 4], text: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&len);
    sum.update(text);
    sum.finalize()
}

/// The result of a scan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The complete entries, in order.
    pub(super) entries: Vec<InboxEntry>,
    /// Where the last entry ends. Bytes after it are a torn write, which was never reported as stored.
    pub(super) end: usize,
    /// How many bytes before `end` are not part of an entry.
    pub(super) damaged: usize,
}

/// Decodes all entries, and skips damaged bytes between them.
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

/// Decodes the entry at the beginning of `bytes`. Returns it with its length.
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
            let (key, at, body) = decode_key(id, rest)?;
            let body = body.to_vec();
            InboxEntry::Received(ReceivedMessage { key, at, body })
        }
        SHOWN => match decode_key(id, rest)? {
            (key, at, []) => InboxEntry::Shown(key, at),
            _ => return None,
        },
        SHOWN_ID if rest.is_empty() => InboxEntry::ShownId(id),
        _ => return None,
    };
    Some((entry, FRAME + text.len()))
}

/// Decodes what follows the id. Returns the key, the time and the rest.
fn decode_key(id: MessageId, rest: &[u8]) -> Option<(MessageKey, u64, &[u8])> {
    let (trust, rest) = rest.split_first()?;
    let (at, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first()?;
    let (from, rest) = rest.split_at_checked(usize::from(*len))?;
    let key = MessageKey {
        trust: Trust::from_number(*trust)?,
        from: Name::new(from).ok()?,
        id,
    };
    Some((key, u64::from_be_bytes(*at), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const MARK: SyncMarker = *b"\xffmarked\xfe";

    fn received(number: u8, body: &[u8]) -> InboxEntry {
        InboxEntry::Received(ReceivedMessage {
            key: key(number),
            at: 5,
            body: body.to_vec(),
        })
    }

    fn key(number: u8) -> MessageKey {
        MessageKey {
            trust: Trust::Local,
            from: Name::new(b"al").expect("a name"),
            id: MessageId([number; 16]),
        }
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
    fn a_damaged_entry_does_not_affect_others() {
        let entries = [
            received(1, b"one"),
            received(2, b"two"),
            InboxEntry::Shown(key(1), 7),
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
    fn a_message_cannot_forge_an_entry() {
        let mut inner = Vec::new();
        encode(&mut inner, *b"guessed!", &received(9, b"forged"));
        let mut bytes = log(&[received(1, &inner), received(2, b"x")]);
        bytes[40] ^= 1;
        assert_eq!(scan(&bytes, MARK).entries, [received(2, b"x")]);
    }

    proptest! {
        #[test]
        fn entries_round_trip_and_a_torn_end_is_detected(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..6),
        ) {
            let mut entries: Vec<_> = (0..).zip(&bodies).map(|(n, body)| received(n, body)).collect();
            entries.push(InboxEntry::Shown(key(0), 9));
            entries.push(InboxEntry::ShownId(key(0).id));
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
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = scan(&[&MARK[..], &bytes].concat(), MARK);
            let _ = decode_head(&bytes);
        }
    }
}
