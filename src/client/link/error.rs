//! Errors of requests to the server, as sentences for the user.

use std::io;

use super::Server;
use crate::client::handle::Handle;
use crate::client::view;
use crate::name::Name;
use crate::wire::code::Code;
use crate::wire::line::Unsayable;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum LinkError {
    /// No connection could be established.
    #[error("cannot reach the server {0}: {1}")]
    Unreachable(Server, io::Error),
    /// The connection failed during the request.
    #[error("the connection to the server {0} broke: {1}")]
    Broken(Server, io::Error),
    /// The connection failed after a message was sent, and before the reply.
    #[error("the connection to the server {0} broke: {1}; the server may have the message")]
    Unknown(Server, io::Error),
    /// The server refused the request permanently.
    #[error("the server refuses the request: {0}")]
    Refused(String),
    /// The message is longer than the server's limit.
    #[error("the server refuses the request: {0}")]
    TooLong(String),
    /// The server refused the request temporarily.
    #[error("the server refuses the request now: {0}")]
    Later(String),
    /// The name is not registered on the server.
    #[error("the server refuses the request: {0}")]
    UnknownUser(String),
    /// This client may not use the name or the mailbox.
    #[error("the server does not allow the request: {0}")]
    Denied(String),
    /// The server reported an internal error.
    #[error("the server {0} has failed; see its log")]
    ServerFailed(Server),
    /// The peer does not use any dropline dialect.
    #[error("{0} is not a dropline server")]
    NotAServer(Server),
    /// The session dialect was chosen, and the server supports only the line dialect.
    #[error("the server {0} does not support the session dialect; try --dialect line")]
    NoSession(Server),
    /// The dialect in use has no presence.
    #[error("the server {0} does not report who is online in the line dialect")]
    NoPresence(Server),
    /// The request needs a session, and the dialect in use is an old one.
    #[error("this needs the session dialect, but an older one is in use with the server {0}")]
    TooOld(Server),
    /// The dialect cannot carry the message.
    #[error("{0}")]
    Unsayable(#[from] Unsayable),
    /// The message cannot be sent, for this reason.
    #[error("{0}")]
    Unfit(&'static str),
    /// The name is invalid in the framed dialect.
    #[error(
        "{0} is not a valid name in the framed dialect, where a name has {rule}",
        rule = crate::wire::framed::REGISTRABLE
    )]
    NoFramedName(Name),
    /// The message does not exist any more, or has another sender. The server does not tell which.
    #[error("you have not sent a message {0}, or the server does not keep it any more")]
    NoSuchMessage(Handle),
    /// The kernel returned no random bytes for the message id.
    #[error("cannot generate a message id: {0}")]
    Random(String),
    /// Received messages could not be written. They are not acknowledged.
    #[error("cannot write: {0}; the messages stay waiting")]
    Output(io::Error),
    /// Other output could not be written.
    #[error("cannot write: {0}")]
    Printing(io::Error),
    #[error("cannot write the handle of the message: {0}; the message was sent")]
    Handle(io::Error),
}

impl LinkError {
    /// Returns the error for a refusal. Only the code decides, not the sentence.
    pub(super) fn refused(code: Code, sentence: &str) -> Self {
        // It is printed with other text, on a terminal or in a log: a server of others must not control either.
        let sentence = view::one_line(sentence);
        match code {
            Code::UnknownUser => Self::UnknownUser(sentence),
            Code::Denied => Self::Denied(sentence),
            Code::TooLong => Self::TooLong(sentence),
            code if code.later_helps() => Self::Later(sentence),
            _ => Self::Refused(sentence),
        }
    }

    /// Returns whether the reader of standard output has closed the pipe.
    pub(in crate::client) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Output(e) | Self::Printing(e) | Self::Handle(e) => {
                e.kind() == io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }
}
