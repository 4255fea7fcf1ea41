//! The client: a menu in a terminal, and one command a job.
#![forbid(unsafe_code)]

mod cli;
mod command;
mod inbox;
mod instant;
mod link;
mod menu;
mod view;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::cli::{Cli, Command};
use self::command::{read, send, who};
use self::link::{Link, LinkError};
use crate::name::Name;

/// The exit statuses, those of sysexits.h.
mod exit {
    pub(super) const USAGE: u8 = 64;
    pub(super) const BAD_DATA: u8 = 65;
    pub(super) const NO_INPUT: u8 = 66;
    pub(super) const NO_USER: u8 = 67;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const SYSTEM: u8 = 71;
    pub(super) const CANNOT_WRITE: u8 = 73;
    pub(super) const LATER: u8 = 75;
    pub(super) const PROTOCOL: u8 = 76;
    pub(super) const NOT_ALLOWED: u8 = 77;
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Send(#[from] send::SendError),
    #[error(transparent)]
    Read(#[from] read::ReadError),
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
            Self::Link(e)
            | Self::Send(send::SendError::Link(e))
            | Self::Read(read::ReadError::Link(e)) => link_status(e),
            Self::Read(read::ReadError::Busy(_)) => exit::LATER,
            Self::Menu(menu::MenuError::Source(_)) => exit::UNAVAILABLE,
            Self::Menu(_) => exit::CANNOT_WRITE,
            Self::NoUser | Self::NoServer(..) | Self::NoCommand => exit::USAGE,
        }
    }
}

fn link_status(error: &LinkError) -> u8 {
    match error {
        LinkError::Unsayable(_) | LinkError::Unfit(_) => exit::BAD_DATA,
        LinkError::NotAServer(_) | LinkError::NoSession(_) => exit::PROTOCOL,
        LinkError::Output(_) => exit::CANNOT_WRITE,
        LinkError::UnknownUser(_) => exit::NO_USER,
        LinkError::Denied(_) => exit::NOT_ALLOWED,
        LinkError::Random(_) => exit::SYSTEM,
        LinkError::Unreachable(..)
        | LinkError::Broken(..)
        | LinkError::Unknown(..)
        | LinkError::Refused(_)
        | LinkError::NoPresence(_)
        | LinkError::ServerFailed(_) => exit::UNAVAILABLE,
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
    let link = Link::new(server, cli.dialect);
    let user = cli.user.clone().or_else(login);
    match &cli.command {
        Some(Command::Send { instant, to, text }) => {
            let user = user.ok_or(Failure::NoUser)?;
            let way = if *instant {
                send::Way::Instant
            } else {
                send::Way::Server
            };
            let delivery = send::send(&link, &user, to, text, way)?;
            if cli.verbose {
                view::say(&send::outcome(to, delivery));
            }
        }
        Some(Command::Read) => {
            let user = user.ok_or(Failure::NoUser)?;
            let count = read::read(&link, &user, &[])?;
            if cli.verbose {
                view::say(&format!("{count} messages for {user}"));
            }
        }
        Some(Command::Who) => {
            who::who(&link, user.as_ref())?;
        }
        None => open_menu(link, user, cli)?,
    }
    Ok(())
}

fn open_menu(link: Link, user: Option<Name>, cli: &Cli) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::NoCommand);
    }
    let source = cli.source.unwrap_or_default();
    Ok(menu::run(link, user, source, cli.verbose)?)
}

/// The name of whoever is logged in, if it is one of ours.
fn login() -> Option<Name> {
    ["USER", "LOGNAME"]
        .iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .find_map(|name| name.parse().ok())
}
