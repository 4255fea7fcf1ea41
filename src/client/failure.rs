//! Why a command was not done, and the exit statuses for that.

use super::command::{outbox as outgoing, read, send};
use super::link::LinkError;
use super::{menu, settings};

/// The exit statuses, those of sysexits.h.
pub(super) mod exit {
    /// There is nothing.
    pub(in crate::client) const NOTHING: u8 = 1;
    /// The command line is wrong.
    pub(in crate::client) const USAGE: u8 = 64;
    /// The message cannot be sent.
    pub(in crate::client) const BAD_DATA: u8 = 65;
    /// Standard input cannot be read.
    pub(in crate::client) const NO_INPUT: u8 = 66;
    /// Nobody has that name.
    pub(in crate::client) const NO_USER: u8 = 67;
    /// There is no server, or it refuses.
    pub(in crate::client) const UNAVAILABLE: u8 = 69;
    /// The system has failed.
    pub(in crate::client) const SYSTEM: u8 = 71;
    /// Something cannot be written.
    pub(in crate::client) const CANNOT_WRITE: u8 = 73;
    /// Later: the message is queued, or somebody else is busy with it.
    pub(in crate::client) const LATER: u8 = 75;
    /// What answers is no server, or does not speak the dialect.
    pub(in crate::client) const PROTOCOL: u8 = 76;
    /// The server does not allow it.
    pub(in crate::client) const NOT_ALLOWED: u8 = 77;
    /// The configuration is wrong.
    pub(in crate::client) const CONFIGURATION: u8 = 78;
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// A message was not sent.
    #[error(transparent)]
    Send(#[from] send::SendError),
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
    Outbox(#[from] outgoing::DropError),
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
            | Self::Send(send::SendError::Link(e))
            | Self::Read(read::ReadError::Link(e)) => e.is_closed_pipe(),
            Self::Output(e) | Self::Outbox(outgoing::DropError::Output(e)) => {
                e.kind() == std::io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }

    /// The exit status that a shell sees.
    pub(super) fn exit_status(&self) -> u8 {
        match self {
            Self::Send(send::SendError::Input(_)) => exit::NO_INPUT,
            Self::Send(send::SendError::TooLong) => exit::BAD_DATA,
            Self::Link(e)
            | Self::Send(send::SendError::Link(e))
            | Self::Read(read::ReadError::Link(e)) => link_status(e),
            Self::Read(read::ReadError::Busy(_)) => exit::LATER,
            Self::Send(send::SendError::Unkept(..)) => exit::CANNOT_WRITE,
            Self::Settings(_) => exit::CONFIGURATION,
            Self::Outbox(outgoing::DropError::NoSuch(_) | outgoing::DropError::Several(..)) => {
                exit::USAGE
            }
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
