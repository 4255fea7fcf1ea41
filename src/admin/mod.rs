//! `droplinectl`: what an operator sees and does.
#![forbid(unsafe_code)]

mod cli;
mod queue;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

use self::cli::{Cli, Command};
use crate::name::Name;
use crate::store::StoreError;
use crate::store::spool::Spool;

/// The exit statuses of sysexits.h.
mod exit {
    pub(super) const USAGE: u8 = 64;
    pub(super) const NO_USER: u8 = 67;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const CANNOT_WRITE: u8 = 73;
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no mailbox of {0}")]
    NoMailbox(Name),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    fn exit_status(&self) -> u8 {
        match self {
            Self::Store(_) => exit::UNAVAILABLE,
            Self::NoMailbox(_) => exit::NO_USER,
            Self::Output(_) => exit::CANNOT_WRITE,
        }
    }
}

/// `droplinectl`: from the command line to the exit status.
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
            use std::io::Write as _;
            // Where standard error is closed, nobody listens.
            let _ = writeln!(io::stderr(), "droplinectl: {failure}");
            failure.exit_status().into()
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let spool = Spool::look_at(&cli.spool)?;
    match &cli.command {
        Command::Queue { name } => queue::print(&spool, name.as_ref()),
    }
}
