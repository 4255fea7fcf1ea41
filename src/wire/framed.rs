//! The framed dialect: that of an older chat program, whose clients still work, kept byte for byte.
//!
//! A frame is 4 bytes of length and then that many bytes, the last of them NUL. A little-endian client stores
//! `htons(n)` in a 32-bit integer and so sends `hi lo 00 00`, a big-endian one `00 00 hi lo`. Each is answered
//! in its own form.

use std::net::{IpAddr, SocketAddr};

use super::visible;
use crate::name::Name;

/// The most bytes that a frame carries, without its NUL.
pub(crate) const MAX_TEXT: usize = u16::MAX as usize - 1;
const LENGTH: usize = 4;

/// A name is free, or an address was noted.
pub(crate) const DONE: &[u8] = b"400";
/// The name is online.
pub(crate) const IS_ONLINE: &[u8] = b"401";
/// The name is known, and offline.
pub(crate) const IS_KNOWN: &[u8] = b"402";
/// The recipient is not registered.
pub(crate) const NOT_REGISTERED: &[u8] = b"403";
/// The recipient is online: a frame with the address follows.
pub(crate) const SEND_TO: &[u8] = b"404";
/// The recipient is offline: the server keeps the message.
pub(crate) const SEND_HERE: &[u8] = b"405";
/// Messages wait: a frame with them follows.
pub(crate) const MESSAGES: &[u8] = b"406";
/// Nothing waits.
pub(crate) const NO_MESSAGES: &[u8] = b"407";

/// Begins the list of clients.
pub(crate) const LIST: &[u8] = b"Client Status List:\n";
/// Comes in its place when no name is registered.
pub(crate) const NOBODY: &[u8] = b"There is no registered client\n";

/// Ends a line of the list that is about an online client, or an offline one.
const ONLINE: &str = " (online)";
const OFFLINE: &str = " (offline)";

/// Ends the first line of a message that was left at the server, behind the sender.
pub(super) const MESSAGE_MARK: &[u8] = b" (msg offline)>";
/// The same of an instant message. The misspelling is the protocol's own.
pub(super) const INSTANT_MARK: &[u8] = b" (Instat Msg)>";

/// How a client writes the length of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// `hi lo 00 00`.
    Little,
    /// `00 00 hi lo`.
    Big,
}

/// What the bytes that came begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A part of a frame.
    Incomplete,
    /// A frame: what it carries, without its NUL; how many bytes it has; and how its length was written.
    Whole(&'a [u8], usize, Order),
    /// No frame.
    Malformed(&'static str),
}

/// How many bytes follow this length, the NUL included, and how it was written; `None` for no length.
pub(crate) fn decode_length(length: [u8; LENGTH]) -> Option<(usize, Order)> {
    let (bytes, order) = match length {
        [hi, lo, 0, 0] => ([hi, lo], Order::Little),
        [0, 0, hi, lo] => ([hi, lo], Order::Big),
        _ => return None,
    };
    Some((u16::from_be_bytes(bytes).into(), order))
}

/// What `received` begins with. All frames of one client are in one `order`; `None` before its first one.
pub(crate) fn decode_frame(received: &[u8], order: Option<Order>) -> Frame<'_> {
    let Some((length, rest)) = received.split_first_chunk() else {
        return Frame::Incomplete;
    };
    let Some((len, this)) = decode_length(*length) else {
        return Frame::Malformed("the length of a frame is 1 to 65535");
    };
    if len == 0 {
        return Frame::Malformed("a frame is empty");
    }
    if order.is_some_and(|order| order != this) {
        return Frame::Malformed("the lengths of two frames are written in different orders");
    }
    let Some(text) = rest.get(..len) else {
        return Frame::Incomplete;
    };
    match text.split_last() {
        Some((0, text)) => Frame::Whole(text, LENGTH + len, this),
        _ => Frame::Malformed("a frame does not end with a NUL"),
    }
}

/// Appends a frame that carries `text`, of at most [`MAX_TEXT`] bytes; what is more is a mistake of the
/// caller's, and nothing is appended.
pub(crate) fn encode_frame(out: &mut Vec<u8>, text: &[u8], order: Order) {
    let Ok(len) = u16::try_from(text.len() + 1) else {
        return;
    };
    let [hi, lo] = len.to_be_bytes();
    out.extend_from_slice(&match order {
        Order::Little => [hi, lo, 0, 0],
        Order::Big => [0, 0, hi, lo],
    });
    out.extend_from_slice(text);
    out.push(0);
}

/// What a client asks for, in its first frame. All but [`Who`](Self::Who) have a name in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// To be known, and online.
    Register,
    /// Who is known, and online.
    Who,
    /// To be offline.
    Quit,
    /// To be forgotten.
    Deregister,
    /// Where a name is online, or to keep a message for it.
    Send,
}

impl Command {
    /// The command with this text; `None` when there is none.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        Some(match text {
            b"!register" => Self::Register,
            b"!who" => Self::Who,
            b"!quit" => Self::Quit,
            b"!deregister" => Self::Deregister,
            b"!send" => Self::Send,
            _ => return None,
        })
    }

    /// Its text.
    pub(crate) fn text(self) -> &'static [u8] {
        match self {
            Self::Register => b"!register",
            Self::Who => b"!who",
            Self::Quit => b"!quit",
            Self::Deregister => b"!deregister",
            Self::Send => b"!send",
        }
    }
}

/// What a name must be to be registered in this dialect, for people.
pub(crate) const REGISTRABLE: &str = "3 to 15 bytes out of A-Z a-z 0-9 _ -";

/// Whether a name can be registered in this dialect: it is [`REGISTRABLE`].
pub(crate) fn is_registrable(name: &Name) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (3..=15).contains(&name.as_bytes().len()) && name.as_bytes().iter().all(is_allowed)
}

/// The list of clients, as far as it goes into one frame.
pub(crate) fn encode_list(names: &[Name], is_online: impl Fn(&Name) -> bool) -> Vec<u8> {
    if names.is_empty() {
        return NOBODY.to_vec();
    }
    /// Room for the line about those who did not fit.
    const ROOM: usize = 64;
    let mut text = LIST.to_vec();
    for (index, name) in names.iter().enumerate() {
        let state = if is_online(name) { ONLINE } else { OFFLINE };
        let line = format!("{name}{state}\n");
        if text.len() + line.len() + ROOM > MAX_TEXT {
            let more = names.len() - index;
            text.extend_from_slice(format!("... and {more} more\n").as_bytes());
            break;
        }
        text.extend_from_slice(line.as_bytes());
    }
    text
}

/// The name that a line of the list is about, and whether it is online; `None` for a line that is about no name.
pub(crate) fn decode_listed(line: &[u8]) -> Option<(Name, bool)> {
    let (name, is_online) = match line.strip_suffix(ONLINE.as_bytes()) {
        Some(name) => (name, true),
        None => (line.strip_suffix(OFFLINE.as_bytes())?, false),
    };
    Some((Name::new(name).ok()?, is_online))
}

/// The address in a frame `IP PORT`.
pub(crate) fn decode_address(text: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = std::str::from_utf8(text).ok()?.trim_end().split_once(' ')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port))
}

/// The text of a frame `IP PORT`.
pub(crate) fn encode_address(address: SocketAddr) -> Vec<u8> {
    format!("{} {}", address.ip(), address.port()).into_bytes()
}

/// A message for the server to keep, as its sender's client writes it.
pub(crate) fn encode_message(out: &mut Vec<u8>, from: &Name, body: &[u8]) {
    out.extend_from_slice(from.as_bytes());
    out.extend_from_slice(MESSAGE_MARK);
    out.push(b'\n');
    out.extend_from_slice(body);
    out.push(b'\n');
}

/// The sender and the body of a message in this dialect, or all of it when it has no well-formed header.
pub(crate) fn decode_message(text: &[u8]) -> (Option<Name>, &[u8]) {
    let (head, rest) = match memchr::memchr(b'\n', text) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[][..]),
    };
    let (from, body) = match sender(head) {
        Some(from) => (Some(from), rest),
        None => (None, text),
    };
    (from, body.strip_suffix(b"\n").unwrap_or(body))
}

/// Whose message begins with this line, if it is the head of one.
fn sender(line: &[u8]) -> Option<Name> {
    let name = line
        .strip_suffix(MESSAGE_MARK)
        .or_else(|| line.strip_suffix(INSTANT_MARK))?;
    Name::new(name).ok()
}

/// Appends a message as it is handed out. Control characters are made visible; a line of the body that looks
/// like the head of another message is indented by a tab, and so forges none.
pub(crate) fn encode_delivery(out: &mut Vec<u8>, from: &Name, body: &[u8]) {
    out.extend_from_slice(from.as_bytes());
    out.extend_from_slice(MESSAGE_MARK);
    for line in body.split(|&byte| byte == b'\n') {
        out.push(b'\n');
        if sender(line).is_some() {
            out.push(b'\t');
        }
        visible::encode(out, line, b"");
    }
    out.push(b'\n');
}

/// A piece of a queue, as the client reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivered<'a> {
    /// A message of this sender begins.
    From(Name),
    /// A line of it.
    Line(&'a [u8]),
}

/// What a line of a queue (without its newline) is.
pub(crate) fn decode_delivered(line: &[u8]) -> Delivered<'_> {
    match sender(line) {
        Some(from) => Delivered::From(from),
        None => Delivered::Line(line),
    }
}

#[cfg(test)]
mod tests;
