//! Errors of the commands, their exit statuses, and messages to the operator.

use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::config::FileError;
use crate::name::Name;
use crate::store::StoreError;

/// Exit statuses: those of sysexits.h, and 1 for findings.
pub(super) mod exit {
    pub(in crate::admin) const FINDINGS: u8 = 1;
    pub(in crate::admin) const USAGE: u8 = 64;
    pub(in crate::admin) const BAD_DATA: u8 = 65;
    pub(in crate::admin) const NO_USER: u8 = 67;
    pub(in crate::admin) const UNAVAILABLE: u8 = 69;
    pub(in crate::admin) const CANNOT_WRITE: u8 = 73;
    pub(in crate::admin) const CONFIGURATION: u8 = 78;
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no mailbox of {0}")]
    NoMailbox(Name),
    #[error(
        "{0} has no recorded owner: its login has neither used the daemon's socket nor got a message"
    )]
    NotClaimed(Name),
    #[error(
        "{0} has no recorded owner who could get the messages: its login becomes the owner when it uses the daemon's socket, for example with `dropline count`"
    )]
    NoOwner(Name),
    #[error("no waiting messages of {0} were set aside")]
    NothingSetAside(Name),
    #[error(
        "messages of {0} stay set aside, because they belonged to another owner; see `droplinectl release --list`, and `--to-new-owner` to give them to the present one"
    )]
    OthersMessages(Name),
    #[error("cannot read the logins of this machine: {0}")]
    Logins(io::Error),
    #[error("cannot write standard output: {0}")]
    Output(#[from] io::Error),
    /// No process holds the lock on the pid file in this run directory.
    #[error("no daemon runs with the run directory {0}; use --run-dir to select another one")]
    NotRunning(PathBuf),
    #[error("cannot read {0}: {1}")]
    Scoreboard(PathBuf, io::Error),
    /// The text names who may read the scoreboard.
    #[error("cannot read {0}, which shows who talks to whom: {1}")]
    NotForYou(PathBuf, String),
    /// The line number counts from 1.
    #[error("cannot read line {0}: {1}")]
    Input(usize, io::Error),
    /// The line is not in the format of `export`.
    #[error("line {0} cannot be imported: {1}")]
    NoExport(usize, String),
    /// The store rejects the line.
    #[error("line {0} cannot be imported: {1}")]
    NotImported(usize, StoreError),
    #[error(transparent)]
    Configuration(FileError),
    /// A key that this program reads has a mistake.
    #[error(
        "the configuration {0} is wrong ({1}); nothing was done: correct it (`droplined --check --config {0}` reports the line), or select the spool with --spool"
    )]
    WrongConfiguration(PathBuf, String),
    #[error("cannot switch to the owner of {0}, to which all files in it must belong: {1}")]
    Owner(PathBuf, io::Error),
    /// Some accepted messages are not in the output.
    #[error("the output is incomplete: {0}")]
    Missing(StoreError),
    /// The findings have been printed.
    #[error("{} finding{}", .0, if *.0 == 1 { "" } else { "s" })]
    Findings(usize),
}

impl Failure {
    /// Fails unless the number of findings is zero.
    pub(super) fn unless_none(findings: usize) -> Result<(), Self> {
        match findings {
            0 => Ok(()),
            n => Err(Self::Findings(n)),
        }
    }

    pub(super) fn exit_status(&self) -> u8 {
        match self {
            Self::Store(_)
            | Self::NotRunning(_)
            | Self::Scoreboard(..)
            | Self::NotForYou(..)
            | Self::Owner(..)
            | Self::Logins(_) => exit::UNAVAILABLE,
            Self::Configuration(_) | Self::WrongConfiguration(..) => exit::CONFIGURATION,
            Self::NoMailbox(_)
            | Self::NotClaimed(_)
            | Self::NoOwner(_)
            | Self::NothingSetAside(_)
            | Self::OthersMessages(_) => exit::NO_USER,
            Self::Output(_) => exit::CANNOT_WRITE,
            Self::Input(..) | Self::NoExport(..) | Self::NotImported(..) => exit::BAD_DATA,
            Self::Findings(_) | Self::Missing(_) => exit::FINDINGS,
        }
    }
}

/// Writes log records to standard error, where the operator sees what the daemon would log.
struct Log;

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            say(record.args());
        }
    }

    fn flush(&self) {}
}

/// Shows the log of the store to the operator.
pub(super) fn show_log() {
    if log::set_logger(&Log).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}

/// Writes a message to standard error. Ignores errors: standard error may be closed.
pub(super) fn say(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "droplinectl: {text}");
}
