//! The lines of the session dialect and their fields, for both sides.

use std::fmt::{self, Write as _};

use crate::message::from_hex;
use crate::name::Name;
use crate::wire::code::Code;

/// The longest line, in bytes, newline included.
pub(super) const MAX_LINE: usize = 1024;

/// The text of a line, or why the line is invalid.
pub(super) type Text<'a> = Result<&'a str, &'static str>;

/// Returns the first line of `received`, without its newline and a carriage return before it, and the offset of the
/// byte that follows it. Returns `None` while the line is incomplete.
///
/// # Errors
/// When the line is longer than [`MAX_LINE`]. The start of the next line is then unknown.
pub(super) fn first_line(received: &[u8]) -> Result<Option<(Text<'_>, usize)>, &'static str> {
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

/// Why a request is invalid: the kind of the error, and a sentence for people.
pub(super) type WrongRequest = (Code, String);

/// Returns a syntax error with this sentence.
pub(super) fn syntax(text: impl Into<String>) -> WrongRequest {
    (Code::Syntax, text.into())
}

/// Parses a field that is a name.
pub(super) fn name(text: &str) -> Result<Name, WrongRequest> {
    text.parse()
        .map_err(|e| (Code::Name, format!("'{text}' is not a name: {e}")))
}

/// Splits a required field, which errors call `what`, from the options after it.
pub(super) fn argument<'l>(rest: &'l str, what: &str) -> Result<(&'l str, &'l str), WrongRequest> {
    let (first, options) = rest.split_once(' ').unwrap_or((rest, ""));
    if first.is_empty() {
        return Err(syntax(format!("{what} is missing")));
    }
    Ok((first, options))
}

/// Checks that all fields are options.
pub(super) fn check(options: &str) -> Result<(), WrongRequest> {
    option(options, "").map(drop)
}

/// Returns the value of an option. The last one counts if the option is repeated.
pub(super) fn option<'l>(options: &'l str, key: &str) -> Result<Option<&'l str>, WrongRequest> {
    let mut found = None;
    if options.is_empty() {
        return Ok(found);
    }
    for field in options.split(' ') {
        match field.split_once('=') {
            Some((this, value)) if this == key => found = Some(value),
            Some(_) => {}
            None => return Err(syntax(format!("'{field}' is not an option: key=value"))),
        }
    }
    Ok(found)
}

/// Returns the value of a numeric option.
pub(super) fn number(options: &str, key: &str) -> Result<Option<u64>, WrongRequest> {
    option(options, key)?.map(to_number).transpose()
}

/// Parses a field that is a number.
pub(super) fn to_number(text: &str) -> Result<u64, WrongRequest> {
    // parse() accepts a sign.
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(number) = text.parse()
    {
        return Ok(number);
    }
    Err(syntax(format!("'{text}' is not a number")))
}

/// Returns the value of the option `port`.
pub(super) fn port(options: &str) -> Result<Option<u16>, WrongRequest> {
    let Some(port) = number(options, "port")? else {
        return Ok(None);
    };
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(syntax("a port is 1 to 65535")),
    }
}

/// Returns the value of an option of `2 * N` hexadecimal digits.
pub(super) fn bytes<const N: usize>(
    options: &str,
    key: &str,
) -> Result<Option<[u8; N]>, WrongRequest> {
    let Some(text) = option(options, key)? else {
        return Ok(None);
    };
    // The value may be a secret, which errors must not repeat.
    let value = from_hex(text);
    let wrong = || syntax(format!("{key} is {} hexadecimal digits", 2 * N));
    value.map(Some).ok_or_else(wrong)
}

/// Appends an option if it has a value.
pub(super) fn put<T: fmt::Display>(line: &mut String, key: &str, value: Option<&T>) {
    if let Some(value) = value {
        let _ = write!(line, " {key}={value}");
    }
}

/// The `key=value` fields of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerFields<'a>(pub(super) &'a str);

impl<'a> AnswerFields<'a> {
    /// Returns the value of a field.
    pub(crate) fn get(self, key: &str) -> Option<&'a str> {
        self.0
            .split(' ')
            .filter_map(|field| field.split_once('='))
            .find(|(this, _)| *this == key)
            .map(|(_, value)| value)
    }

    /// Returns the value of a numeric field.
    pub(crate) fn number(self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// Returns the value of a field that is a name.
    pub(crate) fn name(self, key: &str) -> Option<Name> {
        self.get(key)?.parse().ok()
    }

    /// Returns whether the first field is `word`.
    pub(crate) fn begins_with(self, word: &str) -> bool {
        self.0.split(' ').next() == Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
