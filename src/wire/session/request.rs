//! What a client asks for in a session: each request, how it is read and how it is written.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::fields::{
    WrongRequest, argument, check, first_line, name, number, option, port, put, syntax, to_number,
};
use crate::message::MessageId;
use crate::name::Name;
use crate::wire::code::Code;

/// What both sides say that they speak.
pub(crate) const VERSION: &str = "dropline/1";
/// How each version of the dialect begins.
pub(crate) const OPENING: &[u8] = b"HELLO dropline/";
/// How many bytes of a body that is too long the server still reads, to find the next request.
const LONGEST_SKIP: usize = 64 << 20;
/// How far into the future a message can expire, in seconds: a hundred years.
pub(crate) const LONGEST_TTL: u64 = 100 * 366 * 24 * 3_600;

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
        /// Only to look at: they cannot be acknowledged, and stay free for other readers.
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

/// What the bytes that a client has sent begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A part of a request.
    Incomplete,
    /// A request, and how many bytes it has.
    Request(Request<'a>, usize),
    /// Something wrong. The next request begins so many bytes from here, which may not all have come yet.
    Wrong(Code, String, usize),
    /// Something wrong, after which it cannot be told where the next request begins.
    Lost(Code, String),
}

/// What `received` begins with, from a client of a server that takes bodies of `max_body` bytes.
pub(crate) fn decode_request(received: &[u8], max_body: usize) -> Parsed<'_> {
    let (line, end) = match first_line(received) {
        Ok(Some((Ok(line), end))) => (line, end),
        // A body could follow a SEND like this one, of which the length is not known.
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

/// A request that is its line alone.
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
        },
        "RENEW" => bare(rest, Request::Renew)?,
        "OFFLINE" => Request::Offline { port: port(rest)? },
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
    // The newline after the body.
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

/// Whom a message is for, its id, and for how long it is of use.
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

#[cfg(test)]
mod tests;
