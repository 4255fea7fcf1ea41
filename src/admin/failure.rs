//! Why a command fails, its exit status, and what the operator is told.

use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::config::FileError;
use crate::name::Name;
use crate::store::StoreError;

/// The exit statuses: those of sysexits.h, and 1 for findings of a check.
pub(super) mod exit {
    pub(in crate::admin) const FINDINGS: u8 = 1;
    pub(in crate::admin) const USAGE: u8 = 64;
    pub(in crate::admin) const BAD_DATA: u8 = 65;
    pub(in crate::admin) const NO_USER: u8 = 67;
    pub(in crate::admin) const UNAVAILABLE: u8 = 69;
    pub(in crate::admin) const CANNOT_WRITE: u8 = 73;
    pub(in crate::admin) const CONFIGURATION: u8 = 78;
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no mailbox of {0}")]
    NoMailbox(Name),
    #[error("{0} belongs to no login: nobody has used it over the daemon's socket")]
    NotClaimed(Name),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// No daemon holds the pid file in this run directory.
    #[error("no daemon runs with the run directory {0}; another one is named with --run-dir")]
    NotRunning(PathBuf),
    #[error("cannot read {0}: {1}")]
    Scoreboard(PathBuf, io::Error),
    /// Standard input of an import cannot be read at this line.
    #[error("cannot read line {0}: {1}")]
    Input(usize, io::Error),
    /// This line is not what export prints.
    #[error("line {0} cannot be imported: {1}")]
    NoExport(usize, String),
    /// The store does not take this line.
    #[error("line {0} cannot be imported: {1}")]
    NotImported(usize, StoreError),
    #[error(transparent)]
    Configuration(FileError),
    /// The configuration has a mistake in a key that the tool reads.
    #[error(
        "the configuration {0} is wrong ({1}): `droplined --check --config {0}` says where; nothing was done (--spool names the spool without it)"
    )]
    WrongConfiguration(PathBuf, String),
    #[error("cannot become the owner of {0}, to whom all in it must belong: {1}")]
    Owner(PathBuf, io::Error),
    /// There is more than was printed.
    #[error("this is not all: {0}")]
    Missing(StoreError),
    /// Each finding has a line of its own.
    #[error("{} finding{}", .0, if *.0 == 1 { "" } else { "s" })]
    Findings(usize),
}

impl Failure {
    /// A failure, unless the number of findings is zero.
    pub(super) fn unless_none(findings: usize) -> Result<(), Self> {
        match findings {
            0 => Ok(()),
            n => Err(Self::Findings(n)),
        }
    }

    pub(super) fn exit_status(&self) -> u8 {
        match self {
            Self::Store(_) | Self::NotRunning(_) | Self::Scoreboard(..) | Self::Owner(..) => {
                exit::UNAVAILABLE
            }
            Self::Configuration(_) | Self::WrongConfiguration(..) => exit::CONFIGURATION,
            Self::NoMailbox(_) | Self::NotClaimed(_) => exit::NO_USER,
            Self::Output(_) => exit::CANNOT_WRITE,
            Self::Input(..) | Self::NoExport(..) | Self::NotImported(..) => exit::BAD_DATA,
            Self::Findings(_) | Self::Missing(_) => exit::FINDINGS,
        }
    }
}

/// The store's log: the operator sees what the daemon would log.
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

/// Shows the operator what the store logs.
pub(super) fn show_log() {
    if log::set_logger(&Log).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}

/// Tells the operator something, on standard error. A closed standard error is no failure.
pub(super) fn say(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "droplinectl: {text}");
}
