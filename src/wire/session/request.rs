//! The requests of the session dialect, their decoder and their encoder.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::fields::{
    WrongRequest, argument, bytes, check, first_line, name, number, option, port, put, syntax,
    to_number,
};
use crate::message::{Hex, LeaseToken, MessageId, TicketSecret};
use crate::name::Name;
use crate::wire::code::Code;

/// The version of the dialect, as both sides send it.
pub(crate) const VERSION: &str = "dropline/1";
/// Begins a session in any version of the dialect.
pub(crate) const OPENING: &[u8] = b"HELLO dropline/";
/// The longest body over the limit that the server skips to reach the next request, in bytes.
const LONGEST_SKIP: usize = 64 << 20;
/// The longest time to live of a message, in seconds: a hundred years.
pub(crate) const LONGEST_TTL: u64 = 100 * 366 * 24 * 3_600;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// Begin the session.
    Hello {
        /// Without a name, the session can use only the requests that act for no user, such as `WHO`.
        name: Option<Name>,
    },
    /// Store a message.
    Send {
        to: Name,
        /// The sender's id for the message, if the sender may repeat the request.
        id: Option<MessageId>,
        /// The time to live, in seconds.
        ttl: Option<u64>,
        body: &'a [u8],
    },
    /// Return the waiting messages.
    Fetch {
        /// At most this many messages.
        max: u64,
        /// Leave the messages free for other readers. They cannot be acknowledged.
        peek: bool,
    },
    /// Acknowledge all messages up to this number.
    Ack(u64),
    /// Return the waiting messages, and then each message as it arrives.
    Watch,
    /// Return acknowledged messages, newest first.
    History {
        /// Only messages with lower numbers.
        before: Option<u64>,
        /// At most this many messages.
        max: u64,
    },
    /// Report the state of a message that this client sent.
    Status {
        to: Name,
        /// The number of the message in the recipient's mailbox.
        seq: u64,
    },
    /// Put the name online at a UDP address, for the time of the lease.
    Online {
        port: u16,
        /// Replaces the client's address, as the server sees it.
        addr: Option<IpAddr>,
        /// Names the lease in later requests.
        token: Option<LeaseToken>,
        /// For tickets to send to this client.
        secret: Option<TicketSecret>,
    },
    /// Renew the lease.
    Renew {
        /// Only the lease with this token.
        token: Option<LeaseToken>,
        /// Replaces the secret of the lease.
        secret: Option<TicketSecret>,
    },
    /// End the lease.
    Offline {
        /// Only the lease with this token.
        token: Option<LeaseToken>,
    },
    /// Remove the registration of the name.
    Deregister,
    /// List the registered names.
    Who {
        /// Only names after this one.
        after: Option<Name>,
        /// At most this many names.
        max: u64,
    },
    /// Report the address for instant messages to a name.
    Lookup(Name),
    /// End the session.
    Quit,
}

/// The result of decoding the start of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// The request has not arrived completely.
    Incomplete,
    /// A request, and its length in bytes.
    Request(Request<'a>, usize),
    /// An invalid request. The next one begins at this offset, which may lie beyond the bytes received so far.
    Wrong(Code, String, usize),
    /// An invalid request after which the offset of the next one is unknown.
    Lost(Code, String),
}

/// Decodes the request that `received` begins with, for a server that accepts bodies of up to `max_body` bytes.
pub(crate) fn decode_request(received: &[u8], max_body: usize) -> Parsed<'_> {
    let (line, end) = match first_line(received) {
        Ok(Some((Ok(line), end))) => (line, end),
        // A body of unknown length may follow this SEND.
        Ok(Some((Err(what), end))) if !received.starts_with(b"SEND") => {
            return Parsed::Wrong(Code::Syntax, what.into(), end);
        }
        Ok(Some((Err(what), _))) => return Parsed::Lost(Code::Syntax, what.into()),
        Ok(None) => return Parsed::Incomplete,
        Err(what) => return Parsed::Lost(Code::Syntax, what.into()),
    };
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    if verb == "SEND" {
        return send(received, rest, end, max_body);
    }
    match simple(verb, rest) {
        Ok(request) => Parsed::Request(request, end),
        Err((code, text)) => Parsed::Wrong(code, text, end),
    }
}

/// Parses a request that has no body.
fn simple(verb: &str, rest: &str) -> Result<Request<'static>, WrongRequest> {
    Ok(match verb {
        "HELLO" => {
            let (version, options) = argument(rest, "the version, dropline/1")?;
            if version != VERSION {
                return Err(syntax(format!("this server speaks {VERSION}")));
            }
            let name = option(options, "name")?.map(name).transpose()?;
            Request::Hello { name }
        }
        "FETCH" => Request::Fetch {
            max: number(rest, "max")?.unwrap_or(u64::MAX),
            peek: number(rest, "peek")?.unwrap_or(0) != 0,
        },
        "ACK" => {
            let (seq, options) = argument(rest, "the number of a message")?;
            check(options)?;
            Request::Ack(to_number(seq)?)
        }
        "WATCH" => bare(rest, Request::Watch)?,
        "HISTORY" => Request::History {
            before: number(rest, "before")?,
            max: number(rest, "max")?.unwrap_or(100),
        },
        "STATUS" => {
            let to = option(rest, "to")?.ok_or_else(|| syntax("STATUS needs to= and seq="))?;
            let seq = number(rest, "seq")?.ok_or_else(|| syntax("STATUS needs to= and seq="))?;
            Request::Status { to: name(to)?, seq }
        }
        "ONLINE" => Request::Online {
            port: port(rest)?.ok_or_else(|| syntax("ONLINE needs port="))?,
            addr: option(rest, "addr")?
                .map(|text| {
                    let addr = text.parse::<IpAddr>();
                    addr.map_err(|_| syntax(format!("'{text}' is not an address")))
                })
                .transpose()?,
            token: bytes(rest, "token")?.map(LeaseToken),
            secret: bytes(rest, "secret")?.map(TicketSecret),
        },
        "RENEW" => Request::Renew {
            token: bytes(rest, "token")?.map(LeaseToken),
            secret: bytes(rest, "secret")?.map(TicketSecret),
        },
        "OFFLINE" => Request::Offline {
            token: bytes(rest, "token")?.map(LeaseToken),
        },
        "DEREGISTER" => bare(rest, Request::Deregister)?,
        "WHO" => Request::Who {
            after: option(rest, "after")?.map(name).transpose()?,
            max: number(rest, "max")?.unwrap_or(1_000),
        },
        "LOOKUP" => {
            let (of, options) = argument(rest, "a name")?;
            check(options)?;
            Request::Lookup(name(of)?)
        }
        "QUIT" => bare(rest, Request::Quit)?,
        _ => return Err(syntax("no such request")),
    })
}

fn send<'a>(received: &'a [u8], rest: &str, end: usize, max_body: usize) -> Parsed<'a> {
    let lost = |text: &str| Parsed::Lost(Code::Syntax, text.into());
    let Some((to, rest)) = rest.split_once(' ') else {
        return lost("SEND needs the recipient and the length of the message");
    };
    let (len, options) = rest.split_once(' ').unwrap_or((rest, ""));
    let Ok(len) = to_number(len).map(|len| usize::try_from(len).unwrap_or(usize::MAX)) else {
        return lost("the length of the message is not a number");
    };
    if len > LONGEST_SKIP {
        let text = format!("the message is too long: at most {max_body} bytes are allowed");
        return Parsed::Lost(Code::TooLong, text);
    }
    // A newline follows the body.
    let next = end + len + 1;
    let wrong = |(code, text): WrongRequest| Parsed::Wrong(code, text, next);
    if len > max_body {
        let text = format!("the message is too long: at most {max_body} bytes are allowed");
        return wrong((Code::TooLong, text));
    }
    let (to, id, ttl) = match head(to, options) {
        Ok(head) => head,
        Err(e) => return wrong(e),
    };
    if len == 0 {
        return wrong(syntax("the message is empty"));
    }
    match received.get(end + len) {
        None => Parsed::Incomplete,
        Some(b'\n') => {
            let body = &received[end..end + len];
            Parsed::Request(Request::Send { to, id, ttl, body }, next)
        }
        Some(_) => lost("the message is not followed by a newline: its length is wrong"),
    }
}

/// Parses the recipient, the id and the time to live of a `SEND`.
fn head(to: &str, options: &str) -> Result<(Name, Option<MessageId>, Option<u64>), WrongRequest> {
    let to = name(to)?;
    let id = option(options, "id")?
        .map(|text| {
            let id = text.parse::<MessageId>();
            id.map_err(|()| syntax("an id is 32 hexadecimal digits"))
        })
        .transpose()?;
    let ttl = number(options, "ttl")?;
    if ttl.is_some_and(|ttl| ttl == 0 || ttl > LONGEST_TTL) {
        return Err(syntax(format!("ttl is 1 to {LONGEST_TTL} seconds")));
    }
    Ok((to, id, ttl))
}

fn bare(rest: &str, request: Request<'static>) -> Result<Request<'static>, WrongRequest> {
    check(rest)?;
    Ok(request)
}

/// Appends a request. The server accepts a body that is not empty and not longer than its `max-body`.
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
        Request::Online {
            port,
            addr,
            token,
            secret,
        } => {
            let _ = write!(line, "ONLINE port={port}");
            put(&mut line, "addr", addr.as_ref());
            put_lease(&mut line, token.as_ref(), secret.as_ref());
        }
        Request::Renew { token, secret } => {
            line.push_str("RENEW");
            put_lease(&mut line, token.as_ref(), secret.as_ref());
        }
        Request::Offline { token } => {
            line.push_str("OFFLINE");
            put_lease(&mut line, token.as_ref(), None);
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

/// Appends the token and the secret of a lease.
fn put_lease(line: &mut String, token: Option<&LeaseToken>, secret: Option<&TicketSecret>) {
    put(line, "token", token.map(|token| Hex(&token.0)).as_ref());
    put(line, "secret", secret.map(|secret| Hex(&secret.0)).as_ref());
}

#[cfg(test)]
mod tests;
