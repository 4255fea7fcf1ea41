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
/// Comes in its place when nobody is registered.
pub(crate) const NOBODY: &[u8] = b"There is no registered client\n";

const OFFLINE: &[u8] = b" (msg offline)>";
/// The misspelling is the protocol's own.
const INSTANT: &[u8] = b" (Instat Msg)>";

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

/// What `received` begins with. All frames of one client are in one `order`; `None` before its first one.
pub(crate) fn decode_frame(received: &[u8], order: Option<Order>) -> Frame<'_> {
    let Some((length, rest)) = received.split_first_chunk::<LENGTH>() else {
        return Frame::Incomplete;
    };
    let (len, this) = match *length {
        [hi, lo, 0, 0] => (u16::from_be_bytes([hi, lo]), Order::Little),
        [0, 0, hi, lo] => (u16::from_be_bytes([hi, lo]), Order::Big),
        _ => return Frame::Malformed("the length of a frame is 1 to 65535"),
    };
    if len == 0 {
        return Frame::Malformed("a frame is empty");
    }
    if order.is_some_and(|order| order != this) {
        return Frame::Malformed("the lengths of two frames are written in different orders");
    }
    let Some(text) = rest.get(..usize::from(len)) else {
        return Frame::Incomplete;
    };
    match text.split_last() {
        Some((0, text)) => Frame::Whole(text, LENGTH + usize::from(len), this),
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
    /// Where somebody is, or to keep a message for them.
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

/// Whether a name can be registered in this dialect: 3 to 15 bytes out of `A-Z a-z 0-9 _ -`.
pub(crate) fn is_registrable(name: &Name) -> bool {
    let bytes = name.as_bytes();
    (3..=15).contains(&bytes.len()) && !bytes.contains(&b'.')
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
    out.extend_from_slice(OFFLINE);
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
        .strip_suffix(OFFLINE)
        .or_else(|| line.strip_suffix(INSTANT))?;
    Name::new(name).ok()
}

/// Appends a message as it is handed out. Control characters are made visible; a line of the body that looks
/// like the head of another message is indented by a tab, and so forges none.
pub(crate) fn encode_delivery(out: &mut Vec<u8>, from: &Name, body: &[u8]) {
    out.extend_from_slice(from.as_bytes());
    out.extend_from_slice(OFFLINE);
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
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn n(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn frames_in_both_orders() {
        let little = b"\x00\x0a\x00\x00!register\0more";
        let big = b"\x00\x00\x00\x0a!register\0";
        assert_eq!(
            decode_frame(little, None),
            Frame::Whole(b"!register", 14, Order::Little)
        );
        assert_eq!(
            decode_frame(big, None),
            Frame::Whole(b"!register", 14, Order::Big)
        );
        assert!(matches!(
            decode_frame(big, Some(Order::Little)),
            Frame::Malformed(_)
        ));
        for wrong in [
            &b"\0\0\0\0"[..],
            b"\x01\x01\x01\x01",
            b"\0\x01\x01\0",
            b"\0\x02\0\0ab",
        ] {
            assert!(
                matches!(decode_frame(wrong, None), Frame::Malformed(_)),
                "{wrong:?}"
            );
        }
        assert_eq!(decode_frame(b"\0\x02\0\0a", None), Frame::Incomplete);
        let mut out = Vec::new();
        encode_frame(&mut out, &vec![b'x'; MAX_TEXT], Order::Little);
        assert_eq!(out.len(), 4 + 65_535);
        encode_frame(&mut out, &vec![b'x'; MAX_TEXT + 1], Order::Little);
        assert_eq!(out.len(), 4 + 65_535, "nothing is cut");
    }

    #[test]
    fn addresses_and_names() {
        let address = decode_address(b"10.0.0.5 8283").expect("an address");
        assert_eq!(encode_address(address), b"10.0.0.5 8283");
        assert_eq!(
            decode_address(b"::1 80\n"),
            Some("[::1]:80".parse().expect("one"))
        );
        for wrong in [
            &b""[..],
            b"10.0.0.5",
            b"10.0.0.5 0",
            b"10.0.0.5 65536",
            b"x 1",
            b"1.2.3.4 1 2",
            b"\xff 1",
        ] {
            assert_eq!(decode_address(wrong), None, "{wrong:?}");
        }
        for (name, may) in [
            ("bob", true),
            ("b-o_B9", true),
            ("bo", false),
            ("b.ob", false),
            ("x234567890123456", false),
        ] {
            assert_eq!(is_registrable(&n(name)), may, "{name}");
        }
    }

    #[test]
    fn the_sender_is_taken_from_the_text_and_put_back() {
        let text = b"alice (msg offline)>\nhello\nyou\n";
        assert_eq!(decode_message(text), (Some(n("alice")), &b"hello\nyou"[..]));
        let mut out = Vec::new();
        encode_delivery(&mut out, &n("alice"), b"hello\nyou");
        assert_eq!(out, text);
        assert_eq!(decode_message(b"no head\n"), (None, &b"no head"[..]));
        assert_eq!(decode_message(b"a/b (msg offline)>\nx\n").0, None);
        assert_eq!(
            decode_message(b"al (Instat Msg)>\nx\n"),
            (Some(n("al")), &b"x"[..])
        );
        assert_eq!(decode_message(b""), (None, &b""[..]));
    }

    #[test]
    fn a_message_forges_no_other_and_drives_no_terminal() {
        let mut out = Vec::new();
        encode_delivery(&mut out, &n("eve"), b"x\x1b[2J\nbob (msg offline)>\nlies\0");
        assert_eq!(
            out,
            b"eve (msg offline)>\nx\\x1b[2J\n\tbob (msg offline)>\nlies\\x00\n"
        );
    }

    proptest! {
        #[test]
        fn a_frame_is_read_as_it_was_written(
            text in prop::collection::vec(any::<u8>(), 0..600),
            next in prop::collection::vec(any::<u8>(), 0..9),
            big: bool,
        ) {
            let order = if big { Order::Big } else { Order::Little };
            let mut out = Vec::new();
            encode_frame(&mut out, &text, order);
            let len = out.len();
            for cut in 0..len {
                assert_eq!(decode_frame(&out[..cut], Some(order)), Frame::Incomplete);
            }
            out.extend(next);
            assert_eq!(decode_frame(&out, Some(order)), Frame::Whole(&text, len, order));
        }

        #[test]
        fn a_kept_message_is_read_as_it_was_written(
            from in "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}",
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut out = Vec::new();
            encode_message(&mut out, &n(&from), &body);
            assert_eq!(decode_message(&out), (Some(n(&from)), body.as_slice()));
        }

        #[test]
        fn a_queue_is_its_messages(bodies in prop::collection::vec("[a-z\\n]{1,20}(\\neve \\(msg offline\\)>)?", 1..5)) {
            let mut out = Vec::new();
            for body in &bodies {
                encode_delivery(&mut out, &n("al"), body.as_bytes());
            }
            let heads = out.split(|&b| b == b'\n').filter(|line| matches!(decode_delivered(line), Delivered::From(_)));
            assert_eq!(heads.count(), bodies.len());
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode_frame(&bytes, None);
            let _ = decode_message(&bytes);
            let _ = decode_address(&bytes);
            let _ = decode_delivered(&bytes);
        }
    }
}
