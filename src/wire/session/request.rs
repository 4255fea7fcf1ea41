//! What a client asks for in a session.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::VERSION;
use crate::message::MessageId;
use crate::name::Name;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// The first line: which version, and who speaks.
    Hello {
        /// Who; a session without a name may only look around.
        name: Option<Name>,
    },
    /// Keep a message.
    Send {
        /// Whose mailbox it goes to.
        to: Name,
        /// The sender's own id, if the same message may come again.
        id: Option<MessageId>,
        /// After how many seconds it is of no use any more.
        ttl: Option<u64>,
        /// What it says.
        body: &'a [u8],
    },
    /// Hand out what waits.
    Fetch {
        /// How many messages at most.
        max: u64,
        /// Only to look at: they cannot be acknowledged, and nobody else is kept from them.
        peek: bool,
    },
    /// All up to this number are the client's now.
    Ack(u64),
    /// Hand out what waits, and then each message as it comes.
    Watch,
    /// Show messages that were acknowledged, newest first.
    History {
        /// Only those with lower numbers.
        before: Option<u64>,
        /// How many at most.
        max: u64,
    },
    /// What has become of a message that this client has sent.
    Status {
        /// In whose mailbox.
        to: Name,
        /// Under which number.
        seq: u64,
    },
    /// This name is at that UDP address now, for as long as the lease.
    Online {
        /// The port.
        port: u16,
        /// The address, if it is not the one that the server sees.
        addr: Option<IpAddr>,
    },
    /// Keep the lease.
    Renew,
    /// Give the lease back.
    Offline {
        /// Only if it is for this port.
        port: Option<u16>,
    },
    /// Forget the name.
    Deregister,
    /// Who is registered.
    Who {
        /// Only those after this name.
        after: Option<Name>,
        /// How many at most.
        max: u64,
    },
    /// Where to send an instant message.
    Lookup(Name),
    /// The end of the session.
    Quit,
}

/// Appends a request to what is sent. It is one that the server understands if its body is not empty and not
/// longer than the server's `max-body`.
pub(crate) fn encode_request(out: &mut Vec<u8>, request: &Request<'_>) {
    let mut line = String::new();
    let mut body: Option<&[u8]> = None;
    match request {
        Request::Hello { name } => {
            line.push_str("HELLO ");
            line.push_str(VERSION);
            put(&mut line, "name", name.as_ref());
        }
        Request::Send {
            to,
            id,
            ttl,
            body: text,
        } => {
            let _ = write!(line, "SEND {to} {}", text.len());
            put(&mut line, "id", id.as_ref());
            put(&mut line, "ttl", ttl.as_ref());
            body = Some(text);
        }
        Request::Fetch { max, peek } => {
            line.push_str("FETCH");
            put(&mut line, "max", Some(max).filter(|max| **max < u64::MAX));
            put(&mut line, "peek", peek.then_some(&1));
        }
        Request::Ack(seq) => {
            let _ = write!(line, "ACK {seq}");
        }
        Request::Watch => line.push_str("WATCH"),
        Request::History { before, max } => {
            line.push_str("HISTORY");
            put(&mut line, "before", before.as_ref());
            put(&mut line, "max", Some(max));
        }
        Request::Status { to, seq } => {
            let _ = write!(line, "STATUS to={to} seq={seq}");
        }
        Request::Online { port, addr } => {
            let _ = write!(line, "ONLINE port={port}");
            put(&mut line, "addr", addr.as_ref());
        }
        Request::Renew => line.push_str("RENEW"),
        Request::Offline { port } => {
            line.push_str("OFFLINE");
            put(&mut line, "port", port.as_ref());
        }
        Request::Deregister => line.push_str("DEREGISTER"),
        Request::Who { after, max } => {
            line.push_str("WHO");
            put(&mut line, "after", after.as_ref());
            put(&mut line, "max", Some(max));
        }
        Request::Lookup(name) => {
            let _ = write!(line, "LOOKUP {name}");
        }
        Request::Quit => line.push_str("QUIT"),
    }
    line.push('\n');
    out.extend_from_slice(line.as_bytes());
    if let Some(body) = body {
        out.extend_from_slice(body);
        out.push(b'\n');
    }
}

fn put<T: std::fmt::Display>(line: &mut String, key: &str, value: Option<&T>) {
    if let Some(value) = value {
        let _ = write!(line, " {key}={value}");
    }
}
