//! The line dialect: one request, one reply, close.
//!
//! It is the protocol of an older program whose clients still work, kept byte for byte, the misspelling
//! included. A request is `store;RECIPIENT;SENDER;MESSAGE` or `fetch;RECIPIENT`, up to a newline, the end
//! of the stream, or a silence.

mod refusal;

#[cfg(test)]
pub(crate) use self::refusal::every_refusal;
pub(crate) use self::refusal::{DECLINED, Declined, Refusal, decode_refusal};
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

/// What a request may have beside its message, in bytes: the verb, two names, three semicolons and the
/// end of the line, with some room, so that a name that is too long is told as such.
pub(crate) const MOST_OVERHEAD: usize = 256;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LineRequest<'a> {
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

/// What stands before the first semicolon, and what behind it, if there is one.
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
mod tests;
