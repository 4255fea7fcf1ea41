//! What can go wrong between us and the server, in words for the person who has asked for something.

use std::io;

use super::Server;
use crate::client::handle::Handle;
use crate::name::Name;
use crate::wire::code::Code;
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
    /// The message is longer than the server takes.
    #[error("the server does not accept it: {0}")]
    TooLong(String),
    /// The server does not do it now.
    #[error("the server does not accept it now: {0}")]
    Later(String),
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
    /// The dialect does not know such things.
    #[error(
        "the server {0} is spoken to in an old dialect, which cannot do that; it takes the session dialect"
    )]
    TooOld(Server),
    /// The message cannot be said in the dialect.
    #[error("{0}")]
    Unsayable(#[from] Unsayable),
    /// The message cannot be said in the framed dialect.
    #[error("{0}")]
    Unfit(&'static str),
    /// Nobody can have that name in the framed dialect.
    #[error(
        "{0} cannot be a name in the framed dialect: there it has {rule}",
        rule = crate::wire::framed::REGISTRABLE
    )]
    NoFramedName(Name),
    /// The server tells nobody of messages of others, nor whether there are any.
    #[error("there is no message {0} that you have sent, or the server does not know it any more")]
    NoSuchMessage(Handle),
    /// The kernel has no random number for the id of a message.
    #[error("cannot draw an id for the message: {0}")]
    Random(String),
    /// What was read could not be written where it should go.
    #[error("cannot write: {0}; the messages stay waiting")]
    Output(io::Error),
    /// Something else could not be written.
    #[error("cannot write: {0}")]
    Printing(io::Error),
    /// The handle of a message could not be written.
    #[error("cannot write the handle of the message: {0}; the message was sent")]
    Handle(io::Error),
}

impl LinkError {
    /// What a refusal of the server means: its kind decides, in each dialect, and not its sentence.
    pub(super) fn refused(code: Code, sentence: &str) -> Self {
        let sentence = sentence.to_owned();
        match code {
            Code::UnknownUser => Self::UnknownUser(sentence),
            Code::Denied => Self::Denied(sentence),
            Code::TooLong => Self::TooLong(sentence),
            code if code.later_helps() => Self::Later(sentence),
            _ => Self::Refused(sentence),
        }
    }

    /// Whether whoever should read what we print has gone away.
    pub(in crate::client) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Output(e) | Self::Printing(e) | Self::Handle(e) => {
                e.kind() == io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }
}
