//! The format of a message file: a magic, a line of JSON with the header, and the body.

use serde::{Deserialize, Serialize};

use crate::client::link::{DialectChoice, Server};
use crate::message::MessageId;
use crate::name::Name;

const MAGIC: &[u8] = b"DLOUT1 ";

/// A queued message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Queued {
    /// The id. It never changes, since the message may have been sent before.
    pub(in crate::client) id: MessageId,
    pub(in crate::client) from: Name,
    pub(in crate::client) to: Name,
    /// When the message was written, in milliseconds since 1970.
    pub(in crate::client) at: u64,
    /// When the message expires, in milliseconds since 1970.
    pub(in crate::client) expires: Option<u64>,
    /// The configured server; `None` for the default at the time of sending.
    pub(in crate::client) server: Option<Server>,
    pub(in crate::client) dialect: DialectChoice,
    /// Why the server refused the message permanently, if it did.
    pub(in crate::client) refused: Option<String>,
    pub(in crate::client) body: Vec<u8>,
}

/// The header before the body.
#[derive(Deserialize, Serialize)]
struct QueuedHeader {
    id: String,
    from: String,
    to: String,
    at: u64,
    expires: Option<u64>,
    server: Option<String>,
    dialect: String,
    refused: Option<String>,
    len: usize,
    crc: u32,
}

impl Queued {
    /// Returns the file name. It is unique, and sorts by time.
    pub(in crate::client) fn file_name(&self) -> String {
        format!("{:016x}-{}", self.at, self.id)
    }
}

/// Encodes a message as the contents of its file.
pub(super) fn encode(message: &Queued) -> Vec<u8> {
    let head = QueuedHeader {
        id: message.id.to_string(),
        from: message.from.to_string(),
        to: message.to.to_string(),
        at: message.at,
        expires: message.expires,
        server: message.server.as_ref().map(Server::to_string),
        dialect: message.dialect.to_string(),
        refused: message.refused.clone(),
        len: message.body.len(),
        crc: crc32fast::hash(&message.body),
    };
    let mut bytes = MAGIC.to_vec();
    // Serializing strings and numbers cannot fail.
    bytes.extend(serde_json::to_vec(&head).unwrap_or_default());
    bytes.push(b'\n');
    bytes.extend_from_slice(&message.body);
    bytes
}

/// Decodes the contents of a file; `None` if they are damaged or not a message.
pub(super) fn decode(bytes: &[u8]) -> Option<Queued> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let end = memchr::memchr(b'\n', rest)?;
    let (line, body) = (&rest[..end], &rest[end + 1..]);
    let head: QueuedHeader = serde_json::from_slice(line).ok()?;
    if head.len != body.len() || head.crc != crc32fast::hash(body) {
        return None;
    }
    let server = match head.server {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    Some(Queued {
        id: head.id.parse().ok()?,
        from: head.from.parse().ok()?,
        to: head.to.parse().ok()?,
        at: head.at,
        expires: head.expires,
        server,
        dialect: clap::ValueEnum::from_str(&head.dialect, false).ok()?,
        refused: head.refused,
        body: body.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes_and_detects_damage() {
        let mut message = Queued {
            id: MessageId([7; 16]),
            from: "al".parse().expect("a name"),
            to: "bob".parse().expect("a name"),
            at: 5,
            expires: Some(9),
            server: Some("[::1]:99".parse().expect("a server")),
            dialect: DialectChoice::Line,
            refused: Some("too \"long\"\n".into()),
            body: b"a\n\0\xff".to_vec(),
        };
        assert_eq!(decode(&encode(&message)), Some(message.clone()));
        (message.server, message.expires, message.refused) = (None, None, None);
        let bytes = encode(&message);
        assert_eq!(decode(&bytes), Some(message));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None);
        }
        let mut other = bytes;
        *other.last_mut().expect("a byte") ^= 1;
        assert_eq!(decode(&other), None);
    }
}
