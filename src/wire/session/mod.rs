//! The session dialect: text lines and counted bodies, many requests a connection, pipelining allowed.
//!
//! A line has at most [`MAX_LINE`] bytes; its fields are separated by one space; options are `key=value` in
//! any order, and unknown ones are passed over. A body follows its line, as long as the line says, and a
//! newline follows the body.

mod answer;
mod parse;
mod request;

pub(crate) use answer::{
    Answer, Fields, Line, Message, decode_answer, encode_message, encode_stored,
};
pub(crate) use parse::{LONGEST_TTL, Parsed, decode_request};
pub(crate) use request::{Request, encode_request};

use std::fmt;
use std::str::FromStr;

/// The most bytes that a line has, its newline included.
pub(crate) const MAX_LINE: usize = 1024;
/// What both sides say that they speak.
pub(crate) const VERSION: &str = "dropline/1";

/// What kind of error a request has met. The text beside it is for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// It is no request, or not at this point.
    Syntax,
    /// Something is no name.
    Name,
    /// Nobody has registered that name.
    UnknownUser,
    /// The message is longer than the server takes.
    TooLong,
    /// The mailbox is full.
    Quota,
    /// The server's disk is full.
    DiskFull,
    /// Somebody else has it; later it may be free.
    Busy,
    /// Not for whoever asks.
    Denied,
    /// Too many of something.
    TooMany,
    /// It took too long.
    Timeout,
    /// The server ends.
    Shutdown,
    /// The server has failed.
    Internal,
}

const CODES: [(Code, &str); 12] = [
    (Code::Syntax, "syntax"),
    (Code::Name, "name"),
    (Code::UnknownUser, "unknown-user"),
    (Code::TooLong, "too-long"),
    (Code::Quota, "quota"),
    (Code::DiskFull, "disk-full"),
    (Code::Busy, "busy"),
    (Code::Denied, "denied"),
    (Code::TooMany, "too-many"),
    (Code::Timeout, "timeout"),
    (Code::Shutdown, "shutdown"),
    (Code::Internal, "internal"),
];

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = CODES.iter().find(|(code, _)| code == self);
        f.write_str(text.map_or("internal", |(_, text)| text))
    }
}

impl FromStr for Code {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let code = CODES.iter().find(|(_, known)| *known == text);
        code.map(|(code, _)| *code).ok_or(())
    }
}

/// A line of the dialect, or why it is none.
type Text<'a> = Result<&'a str, &'static str>;

/// The first line of `received`, without its newline (and a carriage return before it), and where what
/// follows it begins; `None` while it is not whole.
///
/// # Errors
/// When a line is longer than [`MAX_LINE`]: nobody can tell where the next one begins.
fn first_line(received: &[u8]) -> Result<Option<(Text<'_>, usize)>, &'static str> {
    let within = &received[..received.len().min(MAX_LINE)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if received.len() < MAX_LINE {
            Ok(None)
        } else {
            Err("a line has at most 1024 bytes")
        };
    };
    let line = &received[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = match std::str::from_utf8(line) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(text),
        _ => Err("a line is text without control characters"),
    };
    Ok(Some((text, end + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_names() {
        for (code, text) in CODES {
            assert_eq!(code.to_string(), text);
            assert_eq!(text.parse(), Ok(code));
        }
        assert_eq!("none".parse::<Code>(), Err(()));
    }

    #[test]
    fn a_line_has_an_end_and_a_limit() {
        assert_eq!(first_line(b"QUIT"), Ok(None));
        assert_eq!(first_line(b"QUIT\r\nmore"), Ok(Some((Ok("QUIT"), 6))));
        assert!(first_line(&[b'x'; MAX_LINE]).is_err());
        assert_eq!(first_line(&[b'x'; MAX_LINE - 1]), Ok(None));
        let longest = [[b'x'; MAX_LINE - 1].as_slice(), b"\n"].concat();
        assert!(matches!(first_line(&longest), Ok(Some((_, MAX_LINE)))));
        for wrong in [&b"\xff\n"[..], b"a\0b\n", b"a\tb\n"] {
            let end = wrong.len();
            assert!(
                matches!(first_line(wrong), Ok(Some((Err(_), at))) if at == end),
                "{wrong:?}"
            );
        }
    }
}
