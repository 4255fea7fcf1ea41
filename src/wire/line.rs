//! The line dialect: one request, one reply, close.
//!
//! It is the protocol of an older program whose clients still work, kept byte for byte, the misspelling
//! included. A request is `store;RECIPIENT;SENDER;MESSAGE` or `fetch;RECIPIENT`, up to a newline, the end
//! of the stream, or a silence.

use std::fmt;

use super::visible;
use crate::name::{Name, NameError};

/// Says that a message is on the disk.
pub(crate) const ACCEPTED: &[u8] = b"Message accepted and stored:\n";
/// Comes before the messages of a mailbox.
pub(crate) const RETRIEVING: &[u8] = b"Retrieving messages...\n";
/// Comes after them, without a newline.
pub(crate) const NO_MORE: &[u8] = b"NO MORE MESSAGES";
/// Comes in their place when there is no such mailbox, without a newline.
pub(crate) const NO_SUCH_NAME: &[u8] = b"There is no such name";
/// Says that the server has failed, and not the client, without a newline.
pub(crate) const INTERNAL_ERROR: &[u8] = b"Internal error";
/// Begins each refusal that the first server did not know; the rest of the line is for a person.
pub(crate) const DECLINED: &[u8] = b"Message declined. ";

/// What a request may have beside its message, in bytes: the verb, two names, three semicolons and the
/// end of the line, with some room, so that a name that is too long is told as such.
pub(crate) const MOST_OVERHEAD: usize = 256;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// Keep a message.
    Store {
        /// Whose mailbox it goes to.
        to: Name,
        /// Who says that it is theirs.
        from: Name,
        /// The message.
        body: &'a [u8],
    },
    /// Hand out what waits.
    Fetch {
        /// Whose mailbox.
        of: Name,
    },
}

/// Why a request is refused; as `Display`, the reply to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing but separators.
    NoVerb,
    /// A verb that is neither `store` nor `fetch`.
    BadVerb,
    /// No recipient.
    NoRecipient,
    /// A store without a sender.
    NoSender,
    /// A store without a message.
    NoMessage,
    /// The recipient is not a name.
    Recipient(NameError),
    /// The sender is not a name.
    Sender(NameError),
    /// The message has more bytes than this.
    TooLong(usize),
    /// Anything else, in one line for a person to read.
    Other(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVerb => f.write_str("No verb\n"),
            Self::BadVerb => f.write_str("Message declined. Bad verb\n"),
            Self::NoRecipient => f.write_str("No reciever\n"),
            Self::NoSender => f.write_str("No sender\n"),
            Self::NoMessage => f.write_str("No message\n"),
            Self::Recipient(e) => writeln!(f, "Message declined. The recipient is not a name: {e}"),
            Self::Sender(e) => writeln!(f, "Message declined. The sender is not a name: {e}"),
            Self::TooLong(most) => writeln!(
                f,
                "Message declined. The message is too long: at most {most} bytes are allowed"
            ),
            Self::Other(reason) => writeln!(f, "Message declined. {reason}"),
        }
    }
}

/// The first request in `received`, without the newline (and a carriage return) at its end; `None`
/// while there is no newline. Also returns where what follows it begins.
pub(crate) fn first_line(received: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', received)?;
    Some((without_return(&received[..end]), end + 1))
}

/// A request that ended without a newline.
pub(crate) fn last_line(received: &[u8]) -> &[u8] {
    without_return(received)
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The request that this line (without its newline) is.
///
/// # Errors
/// What the client is to be told. The first thing wrong is told, from the left.
pub(crate) fn parse(line: &[u8], max_body: usize) -> Result<Request<'_>, Refusal> {
    if line.iter().all(|&b| b == b';') {
        return Err(Refusal::NoVerb);
    }
    let (verb, rest) = field(line);
    match verb {
        b"store" => {
            let (to, rest) = field(rest.unwrap_or_default());
            let to = name(to, Refusal::NoRecipient, Refusal::Recipient)?;
            let (from, body) = field(rest.unwrap_or_default());
            let from = name(from, Refusal::NoSender, Refusal::Sender)?;
            let body = body.unwrap_or_default();
            if body.is_empty() {
                return Err(Refusal::NoMessage);
            }
            if body.len() > max_body {
                return Err(Refusal::TooLong(max_body));
            }
            Ok(Request::Store { to, from, body })
        }
        b"fetch" => {
            let (of, _) = field(rest.unwrap_or_default());
            let of = name(of, Refusal::NoRecipient, Refusal::Recipient)?;
            Ok(Request::Fetch { of })
        }
        _ => Err(Refusal::BadVerb),
    }
}

/// What stands before the first semicolon, and what behind it, if there is one.
fn field(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b';', line) {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    }
}

fn name(
    bytes: &[u8],
    absent: Refusal,
    wrong: impl FnOnce(NameError) -> Refusal,
) -> Result<Name, Refusal> {
    Name::new(bytes).map_err(|e| match e {
        NameError::Empty => absent,
        e => wrong(e),
    })
}

/// Appends a message of a mailbox to a reply: one line, further lines of the body indented by one tab,
/// so that one message can be told from the next, and control characters made visible.
pub(crate) fn encode_message(reply: &mut Vec<u8>, to: &Name, from: &Name, body: &[u8]) {
    reply.extend_from_slice(to.as_bytes());
    reply.push(b';');
    reply.extend_from_slice(from.as_bytes());
    reply.push(b';');
    visible::encode(reply, body, b"\t");
    reply.push(b'\n');
}

/// Why a message cannot be sent in this dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsayable {
    /// There is nothing to send.
    #[error("the message is empty")]
    Empty,
    /// A newline would end the request.
    #[error("the message has more than one line, and the line dialect carries only one")]
    Lines,
    /// A carriage return before the newline would be dropped.
    #[error("the message ends with a carriage return, which the line dialect drops")]
    Return,
}

/// A client's request to store a message.
///
/// # Errors
/// When the dialect cannot carry the message as it is.
pub(crate) fn encode_store(to: &Name, from: &Name, body: &[u8]) -> Result<Vec<u8>, Unsayable> {
    if body.is_empty() {
        return Err(Unsayable::Empty);
    }
    if memchr::memchr(b'\n', body).is_some() {
        return Err(Unsayable::Lines);
    }
    if body.ends_with(b"\r") {
        return Err(Unsayable::Return);
    }
    let fields = [b"store", to.as_bytes(), from.as_bytes(), body];
    let mut request = fields.join(&b';');
    request.push(b'\n');
    Ok(request)
}

/// A client's request for what waits.
pub(crate) fn encode_fetch(of: &Name) -> Vec<u8> {
    let mut request = [b"fetch", of.as_bytes()].join(&b';');
    request.push(b'\n');
    request
}

/// A line (without its newline) of the reply to a fetch, as the client reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched<'a> {
    /// A message begins.
    Message {
        /// Who sent it. A claim, and a server's word for it: not a [`Name`] until it is checked.
        from: &'a [u8],
        /// Its first line.
        text: &'a [u8],
    },
    /// The message goes on with this line.
    More(&'a [u8]),
    /// It is no line of such a reply.
    Other,
}

/// What this line of the reply to a fetch of `of` is.
pub(crate) fn decode_fetched<'a>(line: &'a [u8], of: &Name) -> Fetched<'a> {
    if let Some(more) = line.strip_prefix(b"\t") {
        return Fetched::More(more);
    }
    let message = line
        .strip_prefix(of.as_bytes())
        .and_then(|rest| rest.strip_prefix(b";"))
        .map(field);
    match message {
        Some((from, Some(text))) => Fetched::Message { from, text },
        _ => Fetched::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn n(text: &str) -> Name {
        Name::new(text.as_bytes()).expect("a name")
    }

    fn refused(line: &[u8]) -> String {
        parse(line, 10).expect_err("a refusal").to_string()
    }

    #[test]
    fn requests_are_read() {
        let store = |body| Request::Store {
            to: n("Kyriakos"),
            from: n("george"),
            body,
        };
        assert_eq!(parse(b"store;Kyriakos;george;hi", 10), Ok(store(b"hi")));
        assert_eq!(
            parse(b"store;Kyriakos;george;;a;b;", 10),
            Ok(store(b";a;b;"))
        );
        assert_eq!(
            parse(b"store;Kyriakos;george;\xff\0\r", 10),
            Ok(store(b"\xff\0\r"))
        );
        assert_eq!(parse(b"fetch;bob", 10), Ok(Request::Fetch { of: n("bob") }));
        assert_eq!(
            parse(b"fetch;bob;and;more", 10),
            Ok(Request::Fetch { of: n("bob") })
        );
    }

    #[test]
    fn refusals_are_the_bytes_of_the_table() {
        for line in [&b""[..], b";", b";;;;"] {
            assert_eq!(refused(line), "No verb\n");
        }
        for line in [
            &b"STORE;a;b;c"[..],
            b"fetchx;a",
            b" fetch;a",
            b";fetch;a",
            b"\0\xff",
            b"list",
        ] {
            assert_eq!(refused(line), "Message declined. Bad verb\n");
        }
        for line in [
            &b"store"[..],
            b"store;",
            b"store;;a;b",
            b"fetch",
            b"fetch;",
            b"fetch;;",
        ] {
            assert_eq!(refused(line), "No reciever\n");
        }
        for line in [&b"store;a"[..], b"store;a;", b"store;a;;b"] {
            assert_eq!(refused(line), "No sender\n");
        }
        for line in [&b"store;a;b"[..], b"store;a;b;"] {
            assert_eq!(refused(line), "No message\n");
        }
        assert!(refused(b"store;../x;b;c").starts_with("Message declined. The recipient is not"));
        assert!(refused(b"store;x;-b;c").starts_with("Message declined. The sender is not"));
        assert_eq!(
            refused(b"store;x;b;12345678901"),
            "Message declined. The message is too long: at most 10 bytes are allowed\n"
        );
    }

    #[test]
    fn a_line_ends_at_its_newline() {
        assert_eq!(
            first_line(b"fetch;bob\nmore"),
            Some((&b"fetch;bob"[..], 10))
        );
        assert_eq!(first_line(b"fetch;bob\r\n"), Some((&b"fetch;bob"[..], 11)));
        assert_eq!(first_line(b"fetch;bob"), None);
        assert_eq!(last_line(b"fetch;bob\r"), b"fetch;bob");
    }

    #[test]
    fn a_message_drives_no_terminal_and_forges_no_other() {
        let mut reply = Vec::new();
        let body = "one\n\tb;root;x\u{1b}[2J\u{9b}\u{7f}\r\tü".as_bytes();
        encode_message(
            &mut reply,
            &n("b"),
            &n("a"),
            &[body, b"\x9b\xe9\xa0"].concat(),
        );
        let text = b"b;a;one\n\t\tb;root;x\\x1b[2J\\xc2\\x9b\\x7f\\x0d\t\xc3\xbc\\x9b\xe9\xa0\n";
        assert_eq!(reply, text);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_parsed_again(
            to in "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}",
            from in "[A-Za-z0-9_][A-Za-z0-9._-]{0,49}",
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let (to, from) = (n(&to), n(&from));
            match encode_store(&to, &from, &body) {
                Ok(request) => {
                    let (line, end) = first_line(&request).expect("a line");
                    assert_eq!(end, request.len());
                    assert_eq!(parse(line, 300), Ok(Request::Store { to, from, body: &body }));
                }
                Err(_) => assert!(body.is_empty() || body.contains(&b'\n') || body.ends_with(b"\r")),
            }
        }

        #[test]
        fn a_fetched_message_is_lines_of_its_own(body in prop::collection::vec(any::<u8>(), 1..300)) {
            let (to, from) = (n("bob"), n("al"));
            let mut reply = Vec::new();
            encode_message(&mut reply, &to, &from, &body);
            let mut lines = reply.strip_suffix(b"\n").expect("a newline").split(|&b| b == b'\n');
            let first = lines.next().expect("a first line");
            assert!(matches!(decode_fetched(first, &to), Fetched::Message { from: b"al", .. }));
            assert!(lines.all(|line| matches!(decode_fetched(line, &to), Fetched::More(_))));
            assert!(!reply.iter().any(|b| *b < 0x20 && !b"\n\t".contains(b)));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line, 100);
            let _ = first_line(&line);
            let _ = decode_fetched(&line, &n("bob"));
        }
    }
}
