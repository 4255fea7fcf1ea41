//! The client: a menu in a terminal, and one command a job.
#![forbid(unsafe_code)]

mod cli;
mod command;
mod inbox;
mod link;
mod menu;
mod view;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::cli::{Cli, Command};
use self::command::{read, send};
use self::link::{LinkError, Server};
use crate::name::Name;

/// The exit statuses, those of sysexits.h.
mod exit {
    pub(super) const USAGE: u8 = 64;
    pub(super) const BAD_DATA: u8 = 65;
    pub(super) const NO_INPUT: u8 = 66;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const CANNOT_WRITE: u8 = 73;
    pub(super) const PROTOCOL: u8 = 76;
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Send(#[from] send::SendError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Menu(#[from] menu::MenuError),
    #[error("no user name: use -u NAME, or set DROPLINE_USER")]
    NoUser,
    #[error("'{0}' is not a server: {1}")]
    NoServer(String, String),
    /// Nothing was asked for, and nobody can be asked.
    #[error("there is no command, and no terminal for the menu")]
    NoCommand,
}

impl Failure {
    fn exit_status(&self) -> u8 {
        match self {
            Self::Send(send::SendError::Input(_)) => exit::NO_INPUT,
            Self::Send(send::SendError::TooLong) => exit::BAD_DATA,
            Self::Link(e) | Self::Send(send::SendError::Link(e)) => match e {
                LinkError::Unsayable(_) => exit::BAD_DATA,
                LinkError::NotAServer(_) => exit::PROTOCOL,
                LinkError::Output(_) => exit::CANNOT_WRITE,
                LinkError::Unreachable(..)
                | LinkError::Broken(..)
                | LinkError::Unknown(..)
                | LinkError::Refused(_)
                | LinkError::ServerFailed(_) => exit::UNAVAILABLE,
            },
            Self::Menu(_) => exit::CANNOT_WRITE,
            Self::NoUser | Self::NoServer(..) | Self::NoCommand => exit::USAGE,
        }
    }
}

/// `dropline`: from the command line to the exit status.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let status = if e.use_stderr() { exit::USAGE } else { 0 };
            return e
                .print()
                .map_or(ExitCode::from(exit::CANNOT_WRITE), |()| status.into());
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            view::complain(&failure);
            if matches!(failure, Failure::NoCommand) {
                view::say(&Cli::command().render_usage().to_string());
            }
            failure.exit_status().into()
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let server = cli
        .server()
        .map_err(|e| Failure::NoServer(cli.host_as_typed().into(), e))?;
    let user = cli.user.clone().or_else(login);
    match &cli.command {
        Some(Command::Send { to, text }) => {
            let user = user.ok_or(Failure::NoUser)?;
            send::send(&server, &user, to, text)?;
            if cli.verbose {
                view::say(&format!("{server} has the message for {to}"));
            }
        }
        Some(Command::Read) => {
            let user = user.ok_or(Failure::NoUser)?;
            let count = read::read(&server, &user)?;
            if cli.verbose {
                view::say(&format!("{count} messages for {user}"));
            }
        }
        None => open_menu(&server, user)?,
    }
    Ok(())
}

fn open_menu(server: &Server, user: Option<Name>) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::NoCommand);
    }
    Ok(menu::run(server, user)?)
}

/// The name of whoever is logged in, if it is one of ours.
fn login() -> Option<Name> {
    ["USER", "LOGNAME"]
        .iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .find_map(|name| name.parse().ok())
}
