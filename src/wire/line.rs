//! The line dialect: one request, one reply, close.
//!
//! This is the protocol of an older program whose clients must keep working, preserved byte for byte, including the
//! misspelling. A request is `store;RECIPIENT;SENDER;MESSAGE` or `fetch;RECIPIENT`. It ends at a newline, at the end of
//! the stream, or when the client falls silent.

mod refusal;

#[cfg(test)]
pub(crate) use self::refusal::every_refusal;
pub(crate) use self::refusal::{DECLINED, Declined, Refusal, decode_refusal};
use super::visible;
use crate::name::{Name, NameError};

/// Reply to a store: the message is on the disk.
pub(crate) const ACCEPTED: &[u8] = b"Message accepted and stored:\n";
/// Begins the reply to a fetch.
pub(crate) const RETRIEVING: &[u8] = b"Retrieving messages...\n";
/// Ends the reply to a fetch, after the messages. Has no newline.
pub(crate) const NO_MORE: &[u8] = b"NO MORE MESSAGES";
/// Ends the reply to a fetch of a mailbox that does not exist. Has no newline.
pub(crate) const NO_SUCH_NAME: &[u8] = b"There is no such name";
/// Reply to any request when the server itself has failed. Has no newline.
pub(crate) const INTERNAL_ERROR: &[u8] = b"Internal error";

/// Limits the part of a request that is not the message, in bytes: verb, two names, three semicolons and line end. It
/// leaves spare room so that an overlong name is reported as such.
pub(crate) const MOST_OVERHEAD: usize = 256;

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LineRequest<'a> {
    /// Store a message.
    Store {
        to: Name,
        /// The sender, as the client claims.
        from: Name,
        body: &'a [u8],
    },
    /// Fetch the waiting messages.
    Fetch {
        /// The owner of the mailbox.
        of: Name,
    },
}

/// Returns the first request in `received`, without its newline and a carriage return before it, and the offset of
/// the byte that follows it. Returns `None` if there is no newline yet.
pub(crate) fn first_line(received: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', received)?;
    Some((without_return(&received[..end]), end + 1))
}

/// Returns a request that ended without a newline, without a carriage return at its end.
pub(crate) fn last_line(received: &[u8]) -> &[u8] {
    without_return(received)
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Parses a request, given without its newline.
///
/// # Errors
/// The refusal for the client. If several fields are wrong, the leftmost counts.
pub(crate) fn parse(line: &[u8], max_body: usize) -> Result<LineRequest<'_>, Declined> {
    if line.iter().all(|&b| b == b';') {
        return Err(Refusal::NoVerb.into());
    }
    let (verb, rest) = field(line);
    match verb {
        b"store" => {
            let (to, rest) = field(rest.unwrap_or_default());
            let to = name(to, Refusal::NoRecipient, Refusal::BadRecipient)?;
            let (from, body) = field(rest.unwrap_or_default());
            let from = name(from, Refusal::NoSender, Refusal::BadSender)?;
            let body = body.unwrap_or_default();
            if body.is_empty() {
                return Err(Refusal::NoMessage.into());
            }
            if body.len() > max_body {
                return Err(Declined::with(Refusal::TooLong, max_body));
            }
            Ok(LineRequest::Store { to, from, body })
        }
        b"fetch" => {
            let (of, _) = field(rest.unwrap_or_default());
            let of = name(of, Refusal::NoRecipient, Refusal::BadRecipient)?;
            Ok(LineRequest::Fetch { of })
        }
        _ => Err(Refusal::BadVerb.into()),
    }
}

/// Splits `line` at its first semicolon. Without one, the second part is `None`.
fn field(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b';', line) {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    }
}

fn name(bytes: &[u8], absent: Refusal, wrong: Refusal) -> Result<Name, Declined> {
    Name::new(bytes).map_err(|e| match e {
        NameError::Empty => absent.into(),
        e => Declined::with(wrong, e),
    })
}

/// Appends a message to the reply to a fetch. A tab precedes each further line of the body, so that it cannot be
/// taken for another message; control characters are escaped.
pub(crate) fn encode_message(reply: &mut Vec<u8>, to: &Name, from: &Name, body: &[u8]) {
    reply.extend_from_slice(to.as_bytes());
    reply.push(b';');
    reply.extend_from_slice(from.as_bytes());
    reply.push(b';');
    visible::encode(reply, body, b"\t");
    reply.push(b'\n');
}

/// Why this dialect cannot carry a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsayable {
    #[error("the message is empty")]
    Empty,
    /// A newline would end the request.
    #[error("the message has more than one line, and the line dialect carries only one")]
    Lines,
    /// A carriage return before the newline would be dropped.
    #[error("the message ends with a carriage return, which the line dialect drops")]
    Return,
}

/// Encodes a request to store a message.
///
/// # Errors
/// When the dialect cannot carry the body unchanged.
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

/// Encodes a request to fetch the waiting messages.
pub(crate) fn encode_fetch(of: &Name) -> Vec<u8> {
    let mut request = [b"fetch", of.as_bytes()].join(&b';');
    request.push(b'\n');
    request
}

/// A line of the reply to a fetch, as the client reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched<'a> {
    /// The first line of a message.
    Message {
        /// The sender. Unverified bytes from the server: not a [`Name`] until it is checked.
        from: &'a [u8],
        text: &'a [u8],
    },
    /// A further line of the body.
    More(&'a [u8]),
    /// Not a line of such a reply.
    Other,
}

/// Decodes a line, without its newline, of the reply to a fetch of the mailbox of `of`.
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
mod tests;
