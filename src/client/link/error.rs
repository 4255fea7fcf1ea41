//! What can go wrong between us and the server, in words for the person who has asked for something.

use std::io;

use super::Server;
use crate::wire::line::Unsayable;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum LinkError {
    /// There is no server, or none that answers.
    #[error("cannot reach the server {0}: {1}")]
    Unreachable(Server, io::Error),
    /// The connection broke in the middle.
    #[error("the connection to the server {0} broke: {1}")]
    Broken(Server, io::Error),
    /// The connection broke after a message was handed over.
    #[error(
        "the connection to the server {0} broke: {1}; it is not known whether it has the message"
    )]
    Unknown(Server, io::Error),
    /// The server does not do it, and says why.
    #[error("the server does not accept it: {0}")]
    Refused(String),
    /// The server knows nobody of that name.
    #[error("the server does not accept it: {0}")]
    UnknownUser(String),
    /// The server does not do it for us.
    #[error("the server does not allow it: {0}")]
    Denied(String),
    /// The server says that it has failed.
    #[error("the server {0} has failed; its log says why")]
    ServerFailed(Server),
    /// What answers does not speak our protocol.
    #[error("what answers at {0} is not a dropline server")]
    NotAServer(Server),
    /// It knows the line dialect only, and another was asked for.
    #[error("the server {0} does not speak the session dialect; try --dialect line")]
    NoSession(Server),
    /// The dialect does not know who is there.
    #[error("the server {0} is spoken to in the line dialect, which does not know who is there")]
    NoPresence(Server),
    /// The message cannot be said in the dialect.
    #[error("{0}")]
    Unsayable(#[from] Unsayable),
    /// The message cannot be said in the framed dialect.
    #[error("{0}")]
    Unfit(&'static str),
    /// The kernel has no random number for the id of a message.
    #[error("cannot draw an id for the message: {0}")]
    Random(String),
    /// What was read could not be written where it should go.
    #[error("cannot write: {0}; the messages stay waiting")]
    Output(io::Error),
}
