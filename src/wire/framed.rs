//! The framed dialect: the protocol of an older chat program whose clients must keep working, preserved byte for byte.
//!
//! A frame is a length of 4 bytes and then that many bytes, the last of which is NUL. A little-endian client stores
//! `htons(n)` in a 32-bit integer and so sends `hi lo 00 00`; a big-endian client sends `00 00 hi lo`. The server
//! replies in the client's form.

use std::net::{IpAddr, SocketAddr};

use super::visible;
use crate::message::is_deceptive;
use crate::name::Name;

/// The longest text that a frame carries, in bytes, without its NUL.
pub(crate) const MAX_TEXT: usize = u16::MAX as usize - 1;
const LENGTH: usize = 4;

/// Success: the name is free, or the address was recorded.
pub(crate) const DONE: &[u8] = b"400";
/// The name is online, or this client cannot register it: the old client then asks for another.
pub(crate) const IS_ONLINE: &[u8] = b"401";
/// The name is registered and offline.
pub(crate) const IS_KNOWN: &[u8] = b"402";
/// The recipient is not registered.
pub(crate) const NOT_REGISTERED: &[u8] = b"403";
/// The recipient is online. A frame with its address follows.
pub(crate) const SEND_TO: &[u8] = b"404";
/// The recipient is offline. The server stores the message.
pub(crate) const SEND_HERE: &[u8] = b"405";
/// Messages are waiting. A frame with them follows.
pub(crate) const MESSAGES: &[u8] = b"406";
/// No message is waiting.
pub(crate) const NO_MESSAGES: &[u8] = b"407";

/// Begins the reply to `!who`.
pub(crate) const LIST: &[u8] = b"Client Status List:\n";
/// Replaces that reply when no name is registered.
pub(crate) const NO_CLIENTS: &[u8] = b"There is no registered client\n";

/// End the line of an online or offline name in that reply.
const ONLINE: &str = " (online)";
const OFFLINE: &str = " (offline)";

/// Ends the header line of a stored message, after the sender.
pub(super) const MESSAGE_MARK: &[u8] = b" (msg offline)>";
/// Ends the header line of an instant message. The misspelling is part of the protocol.
pub(super) const INSTANT_MARK: &[u8] = b" (Instat Msg)>";

/// How a client encodes the length of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// `hi lo 00 00`.
    Little,
    /// `00 00 hi lo`.
    Big,
}

/// The result of decoding the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// The frame has not arrived completely.
    Incomplete,
    /// A frame: its text without the NUL, its length in bytes including the header, and how its length was encoded.
    Whole(&'a [u8], usize, Order),
    /// Not a frame, for this reason.
    Malformed(&'static str),
}

/// Returns how many bytes follow this length field, NUL included, and its encoding. `None` if the field is invalid.
pub(crate) fn decode_length(length: [u8; LENGTH]) -> Option<(usize, Order)> {
    let (bytes, order) = match length {
        [hi, lo, 0, 0] => ([hi, lo], Order::Little),
        [0, 0, hi, lo] => ([hi, lo], Order::Big),
        _ => return None,
    };
    Some((u16::from_be_bytes(bytes).into(), order))
}

/// Decodes the frame that `received` begins with. All frames of a client have one `order`: `None` before the first.
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

/// Appends a frame with `text`, of at most [`MAX_TEXT`] bytes. Appends nothing if the caller passes a longer text.
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

/// A request, in the first frame. All but [`Who`](Self::Who) have a name in the second frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Register the name and go online.
    Register,
    /// List the registered names and their state.
    Who,
    /// Go offline.
    Quit,
    /// Remove the registration of the name.
    Deregister,
    /// Report the address of the name if it is online; otherwise store a message for it.
    Send,
}

impl Command {
    /// Parses the text of a command. Returns `None` if there is no such command.
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

    /// Returns the text of the command.
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

/// Describes the names that can be registered in this dialect, for error messages.
pub(crate) const REGISTRABLE: &str = "3 to 15 bytes out of A-Z a-z 0-9 _ -";

/// Returns whether a name can be registered in this dialect, see [`REGISTRABLE`].
pub(crate) fn is_registrable(name: &Name) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (3..=15).contains(&name.as_bytes().len()) && name.as_bytes().iter().all(is_allowed)
}

/// The largest number of names in the reply to `!who`: its frame has no room for more.
pub(crate) const MOST_LISTED: usize = MAX_TEXT / (1 + ONLINE.len() + 1);

/// Encodes the reply to `!who`, truncated to the size of a frame: these names, and that there are `others`.
pub(crate) fn encode_list(
    names: &[Name],
    others: usize,
    is_online: impl Fn(&Name) -> bool,
) -> Vec<u8> {
    if names.is_empty() {
        return NO_CLIENTS.to_vec();
    }
    /// Reserves space for the line that counts the omitted names, in bytes.
    const ROOM: usize = 64;
    let mut text = LIST.to_vec();
    let mut omitted = others;
    for (index, name) in names.iter().enumerate() {
        let state = if is_online(name) { ONLINE } else { OFFLINE };
        let line = format!("{name}{state}\n");
        if text.len() + line.len() + ROOM > MAX_TEXT {
            omitted += names.len() - index;
            break;
        }
        text.extend_from_slice(line.as_bytes());
    }
    if omitted > 0 {
        text.extend_from_slice(format!("... and {omitted} more\n").as_bytes());
    }
    text
}

/// Decodes a line of that reply: the name, and whether it is online. Returns `None` for any other line.
pub(crate) fn decode_listed(line: &[u8]) -> Option<(Name, bool)> {
    let (name, is_online) = match line.strip_suffix(ONLINE.as_bytes()) {
        Some(name) => (name, true),
        None => (line.strip_suffix(OFFLINE.as_bytes())?, false),
    };
    Some((Name::new(name).ok()?, is_online))
}

/// Decodes the text of an address frame, `IP PORT`.
pub(crate) fn decode_address(text: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = std::str::from_utf8(text).ok()?.trim_end().split_once(' ')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port))
}

/// Encodes the text of an address frame, `IP PORT`.
pub(crate) fn encode_address(address: SocketAddr) -> Vec<u8> {
    format!("{} {}", address.ip(), address.port()).into_bytes()
}

/// Appends a message for the server to store, as the sender's client encodes it.
pub(crate) fn encode_message(out: &mut Vec<u8>, from: &Name, body: &[u8]) {
    out.extend_from_slice(from.as_bytes());
    out.extend_from_slice(MESSAGE_MARK);
    out.push(b'\n');
    out.extend_from_slice(body);
    out.push(b'\n');
}

/// Decodes a message into its sender and body. Without a valid header, all of the text is the body.
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

/// Returns the sender if `line` is the header of a message.
fn sender(line: &[u8]) -> Option<Name> {
    let name = line
        .strip_suffix(MESSAGE_MARK)
        .or_else(|| line.strip_suffix(INSTANT_MARK))?;
    Name::new(name).ok()
}

/// Returns whether a reader, a person or a program, could take `line` for the header of a message: it ends with a mark,
/// whatever its case and its white space.
pub(super) fn looks_like_header(line: &[u8]) -> bool {
    /// Characters that have no width, besides white space and control characters.
    const INVISIBLE: &[char] = &[
        '\u{ad}', '\u{180e}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}',
    ];
    let squeezed = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let visible = |c: &char| !c.is_whitespace() && !is_deceptive(*c) && !INVISIBLE.contains(c);
        text.chars()
            .filter(visible)
            .collect::<String>()
            .to_lowercase()
    };
    // A line that begins with a tab is marked already.
    if line.starts_with(b"\t") || !line.contains(&b'>') {
        return false;
    }
    let line = squeezed(line);
    [MESSAGE_MARK, INSTANT_MARK]
        .iter()
        .any(|mark| line.ends_with(&squeezed(mark)))
}

/// Appends a stored message for its reader. Control characters are escaped. A tab precedes each body line that looks
/// like a header, so that a body cannot forge a message.
pub(crate) fn encode_delivery(out: &mut Vec<u8>, from: &Name, body: &[u8]) {
    out.extend_from_slice(from.as_bytes());
    out.extend_from_slice(MESSAGE_MARK);
    for line in body.split(|&byte| byte == b'\n') {
        out.push(b'\n');
        if looks_like_header(line) {
            out.push(b'\t');
        }
        visible::encode(out, line, b"");
    }
    out.push(b'\n');
}

/// A line of the stored messages, as the client reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivered<'a> {
    /// The header of a message from this sender.
    From(Name),
    /// A line of a body.
    Line(&'a [u8]),
}

/// Decodes a line, without its newline, of the stored messages.
pub(crate) fn decode_delivered(line: &[u8]) -> Delivered<'_> {
    match sender(line) {
        Some(from) => Delivered::From(from),
        None => Delivered::Line(line),
    }
}

#[cfg(test)]
mod tests;
