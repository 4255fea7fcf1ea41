//! `dropline send`.

use std::io::{self, Read};

use crate::client::instant::{self, Delivery, Why};
use crate::client::link::{Dialect, Link, LinkError};
use crate::message::{LARGEST_MAX_BODY, MessageId};
use crate::name::Name;
use crate::sys::clock;
use crate::wire::datagram::Letter;
use crate::wire::line::Unsayable;

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum SendError {
    /// Standard input cannot be read.
    #[error("cannot read the message from standard input: {0}")]
    Input(io::Error),
    /// It is longer than any server takes.
    #[error("the message is too long: no server takes more than {LARGEST_MAX_BODY} bytes")]
    TooLong,
    /// The server has not got it.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Way {
    /// To the server.
    Server,
    /// To the recipient's client, if they are online, else to the server.
    Instant,
}

/// Sends `text`, or standard input if it is `-` alone, without the newline at its end. Says how it went.
///
/// # Errors
/// The message was not sent, or it is not known whether it was.
pub(in crate::client) fn send(
    link: &Link,
    from: &Name,
    to: &Name,
    text: &[String],
    way: Way,
) -> Result<Delivery, SendError> {
    let body = match text {
        [dash] if dash == "-" => read_input()?,
        words => words.join(" ").into_bytes(),
    };
    Ok(send_body(link, from, to, &body, way)?)
}

/// As [`send`], for a message that is at hand.
///
/// # Errors
/// As for [`send`].
pub(in crate::client) fn send_body(
    link: &Link,
    from: &Name,
    to: &Name,
    body: &[u8],
    way: Way,
) -> Result<Delivery, LinkError> {
    if body.is_empty() {
        return Err(Unsayable::Empty.into());
    }
    let letter = Letter {
        id: MessageId::random().map_err(|e| LinkError::Random(e.to_string()))?,
        at: clock::unix_millis(),
        from: from.clone(),
        to: to.clone(),
        body,
    };
    // The old chat server leaves no choice.
    if way == Way::Instant || link.dialect() == Dialect::Framed {
        return instant::deliver(link, &letter);
    }
    link.offer(&letter)?;
    Ok(Delivery::Kept(Why::Unasked))
}

/// How a message went, in a sentence.
pub(in crate::client) fn outcome(to: &Name, delivery: Delivery) -> String {
    match delivery {
        Delivery::Acknowledged => format!("{to} has it."),
        Delivery::Sent => format!("Sent to {to}, whose client cannot confirm it."),
        Delivery::Kept(Why::Offline) => format!("{to} is offline: the server keeps it."),
        Delivery::Kept(Why::Unanswered) => format!("{to} does not answer: the server keeps it."),
        Delivery::Kept(Why::Unfit) => {
            format!("It does not fit a datagram: the server keeps it for {to}.")
        }
        Delivery::Kept(Why::Unasked) => format!("The server has your message for {to}."),
    }
}

fn read_input() -> Result<Vec<u8>, SendError> {
    let mut body = Vec::new();
    let most = LARGEST_MAX_BODY as u64 + 2;
    io::stdin()
        .lock()
        .take(most)
        .read_to_end(&mut body)
        .map_err(SendError::Input)?;
    if body.ends_with(b"\n") {
        body.pop();
    }
    if body.len() > LARGEST_MAX_BODY {
        return Err(SendError::TooLong);
    }
    Ok(body)
}
