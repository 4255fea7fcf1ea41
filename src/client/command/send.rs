//! `dropline send`.

use std::io::{self, Read};

use crate::client::link::{LinkError, Server};
use crate::message::LARGEST_MAX_BODY;
use crate::name::Name;

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

/// Sends `text`, or standard input if it is `-` alone, without the newline at its end.
///
/// # Errors
/// The message was not sent, or it is not known whether it was.
pub(in crate::client) fn send(
    server: &Server,
    from: &Name,
    to: &Name,
    text: &[String],
) -> Result<(), SendError> {
    let body = match text {
        [dash] if dash == "-" => read_input()?,
        words => words.join(" ").into_bytes(),
    };
    Ok(server.store(to, from, &body)?)
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
