//! Why a command failed, and the exit status for each reason.

use super::command::{outbox, read};
use super::link::LinkError;
use super::submission::SendError;
use super::{exit, menu, settings};
use crate::name::Name;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Read(#[from] read::ReadError),
    /// A request to the server failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Menu(#[from] menu::MenuError),
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    #[error(transparent)]
    Outbox(#[from] outbox::OutboxCommandError),
    /// Standard output cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
    /// Neither the settings nor the login give a valid user name.
    #[error("no user name: use -u NAME, or set DROPLINE_USER")]
    NoUser,
    /// The name is not the login, and no server is named.
    #[error(
        "you cannot be {0} over the socket, where your name is your login; for another name, use -d localhost or \
         another server"
    )]
    NotYourName(Name),
    /// The first word of a text or a job looks like an option of `dropline`.
    #[error("there is no option {0} here; if it belongs to the text or command, put -- before it")]
    NoOption(String),
    /// The argument HOST is invalid, and why.
    #[error("'{0}' is not a server: {1}")]
    NoServer(String, String),
    /// `chat` was started without a terminal.
    #[error("chat needs a terminal; to send standard input, use `dropline send NAME -`")]
    NoTerminal,
    /// No command was given, and no terminal exists for the menu.
    #[error("no command was given, and the menu needs a terminal")]
    NoCommand,
}

impl Failure {
    /// Returns whether the reader of standard output has closed the pipe. This is not reported to the user.
    pub(super) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Link(e)
            | Self::Send(SendError::Link(e))
            | Self::Read(read::ReadError::Link(e)) => e.is_closed_pipe(),
            Self::Output(e) | Self::Outbox(outbox::OutboxCommandError::Output(e)) => {
                e.kind() == std::io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }

    /// Returns the exit status for this failure.
    pub(super) fn exit_status(&self) -> u8 {
        match self {
            Self::Send(SendError::Input(_)) => exit::NO_INPUT,
            Self::Send(SendError::TooLong) => exit::BAD_DATA,
            Self::Link(e)
            | Self::Send(SendError::Link(e))
            | Self::Read(read::ReadError::Link(e)) => link_status(e),
            Self::Read(read::ReadError::Busy(_)) => exit::LATER,
            Self::Send(SendError::NotQueued(..)) => exit::CANNOT_WRITE,
            Self::Settings(_) => exit::CONFIGURATION,
            Self::Outbox(
                outbox::OutboxCommandError::NoSuch(_) | outbox::OutboxCommandError::Several(..),
            ) => exit::USAGE,
            Self::Outbox(_) | Self::Output(_) => exit::CANNOT_WRITE,
            Self::Menu(menu::MenuError::Source(_)) => exit::UNAVAILABLE,
            Self::Menu(_) => exit::CANNOT_WRITE,
            Self::NotYourName(_) => exit::NOT_ALLOWED,
            Self::NoUser
            | Self::NoOption(_)
            | Self::NoServer(..)
            | Self::NoCommand
            | Self::NoTerminal => exit::USAGE,
        }
    }
}

fn link_status(error: &LinkError) -> u8 {
    match error {
        LinkError::Unsayable(_) | LinkError::Unfit(_) | LinkError::TooLong(_) => exit::BAD_DATA,
        LinkError::NotAServer(_)
        | LinkError::NoSession(_)
        | LinkError::NoPresence(_)
        | LinkError::TooOld(_) => exit::PROTOCOL,
        LinkError::Later(_) => exit::LATER,
        LinkError::Output(_) | LinkError::Printing(_) | LinkError::Handle(_) => exit::CANNOT_WRITE,
        LinkError::UnknownUser(_) | LinkError::NoFramedName(_) => exit::NO_USER,
        LinkError::Denied(_) | LinkError::NoSuchMessage(..) => exit::NOT_ALLOWED,
        LinkError::Random(_) => exit::SYSTEM,
        LinkError::Unreachable(..)
        | LinkError::Broken(..)
        | LinkError::Unknown(..)
        | LinkError::Refused(_)
        | LinkError::ServerFailed(_) => exit::UNAVAILABLE,
    }
}
