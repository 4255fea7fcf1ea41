//! Why a command was not done, and the exit status for that.

use super::command::{outbox, read};
use super::link::LinkError;
use super::submission::SendError;
use super::{exit, menu, settings};

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// A message was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Messages were not read.
    #[error(transparent)]
    Read(#[from] read::ReadError),
    /// The server did not do it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The menu had to end.
    #[error(transparent)]
    Menu(#[from] menu::MenuError),
    /// Something is set wrong.
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    /// The outbox did not do it.
    #[error(transparent)]
    Outbox(#[from] outbox::OutboxCommandError),
    /// Standard output is gone.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
    /// Nobody knows who asks.
    #[error("no user name: use -u NAME, or set DROPLINE_USER")]
    NoUser,
    /// What should be a text, or a command, looks like an option, and there is none like it.
    #[error("there is no option {0} here; where it is what you mean to say, put -- before it")]
    NoOption(String),
    /// HOST is none.
    #[error("'{0}' is not a server: {1}")]
    NoServer(String, String),
    /// One talks with a terminal only.
    #[error(
        "there is no terminal to talk in; `dropline send NAME -` takes a message from elsewhere"
    )]
    NoTerminal,
    /// Nothing was asked for, and nobody can be asked.
    #[error("there is no command, and no terminal for the menu")]
    NoCommand,
}

impl Failure {
    /// Whether whoever should read what we print has gone away: nobody is to be told.
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

    /// The exit status that a shell sees.
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
