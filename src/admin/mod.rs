//! `droplinectl`: what an operator sees and does.
#![forbid(unsafe_code)]

mod archive;
mod board;
mod check;
mod cli;
mod config;
mod export;
mod history;
mod import;
mod progress;
mod queue;
mod time;
mod users;

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;

use self::cli::{Cli, Command};
use self::config::ConfigError;
use crate::name::Name;
use crate::store::{self, Care, Limits, Settings, StoreError};
use crate::sys::{login, stdio};

/// The exit statuses: those of sysexits.h, and 1 for findings of a check.
mod exit {
    pub(super) const FINDINGS: u8 = 1;
    pub(super) const USAGE: u8 = 64;
    pub(super) const BAD_DATA: u8 = 65;
    pub(super) const NO_USER: u8 = 67;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const CANNOT_WRITE: u8 = 73;
    pub(super) const CONFIGURATION: u8 = 78;
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no mailbox of {0}")]
    NoMailbox(Name),
    #[error("{0} belongs to no login: nobody has used it over the daemon's socket")]
    NotClaimed(Name),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    #[error(transparent)]
    Board(#[from] board::BoardError),
    #[error(transparent)]
    Import(#[from] import::ImportError),
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    fn exit_status(&self) -> u8 {
        match self {
            Self::Store(_) | Self::Board(_) | Self::Owner(..) => exit::UNAVAILABLE,
            Self::Config(_) => exit::CONFIGURATION,
            Self::NoMailbox(_) | Self::NotClaimed(_) => exit::NO_USER,
            Self::Output(_) => exit::CANNOT_WRITE,
            Self::Import(_) => exit::BAD_DATA,
            Self::Findings(_) | Self::Missing(_) => exit::FINDINGS,
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
    if log::set_logger(&Told).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("droplinectl: {failure}"));
            failure.exit_status().into()
        }
    }
}

/// What the store has to tell, as in the daemon's log.
struct Told;

impl log::Log for Told {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            say(&format!("droplinectl: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Says something to the operator, on standard error. Where that is closed, nobody listens.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(io::stderr(), "{text}");
}

fn run(cli: &Cli) -> Result<(), Failure> {
    if stdio::output_is_closed() {
        return Err(io::Error::from_raw_os_error(nix::libc::EBADF).into());
    }
    match &cli.command {
        Command::Status { json } => board::status(&cli.run_dir(), *json),
        Command::Top { times } => board::top(&cli.run_dir(), *times),
        Command::Metrics => board::metrics(&cli.run_dir()),
        command => with_spool(cli, &cli.spool()?, command),
    }
}

/// The commands for which there must be a spool.
fn with_spool(cli: &Cli, path: &Path, command: &Command) -> Result<(), Failure> {
    // What a daemon that was killed has left in the journal is settled by whoever comes first: so always as the owner.
    let settings = Settings {
        spool: path,
        run_dir: None,
        limits: Limits::default(),
    };
    let missing = Cell::new(None);
    let look = || {
        become_owner(path)?;
        let (store, more) = store::look_at(&settings)?;
        missing.set(more);
        Ok::<_, Failure>(store)
    };
    // A daemon that runs is refused the spool meanwhile, and refuses it to us.
    let alone = || Ok::<_, Failure>(store::open(&settings)?);
    let done = match command {
        Command::Status { .. } | Command::Top { .. } | Command::Metrics => Ok(()),
        Command::Users => users::print(&*look()?),
        Command::Queue { name } => queue::print(&*look()?, name.as_ref()),
        Command::History { name } => history::print(&*look()?, name),
        Command::Expire => {
            let limits = cli.limits()?;
            let mut spool = look()?;
            spool.set_limits(limits);
            expire(&*spool)
        }
        Command::Release { name } => {
            if look()?.release(name)? {
                Ok(())
            } else {
                Err(Failure::NotClaimed(name.clone()))
            }
        }
        Command::Check {
            repair: false,
            names,
        } => check::check(&*look()?, names),
        Command::Check {
            repair: true,
            names,
        } => {
            look()?;
            let spool = alone()?;
            check::repair(&*spool, names)
        }
        Command::Export => export::export(&*look()?),
        Command::Import {
            missing: only_missing,
        } => {
            become_owner(path)?;
            let spool = alone()?;
            Ok(import::import(&*spool, io::stdin().lock(), *only_missing)?)
        }
    };
    match missing.take() {
        // What was printed is not all.
        Some(e) => done.and(Err(Failure::Missing(e))),
        None => done,
    }
}

/// Becomes the owner of the spool, if root runs this: nothing in it may belong to anybody else. One that is not
/// there will belong to whoever makes it.
fn become_owner(spool: &Path) -> Result<(), Failure> {
    login::become_owner(spool).map_err(|e| Failure::Owner(spool.to_owned(), e))
}

fn expire(spool: &dyn Care) -> Result<(), Failure> {
    let names = spool.mailboxes()?;
    let mut progress = progress::Progress::new("mailboxes", names.len());
    let mut failed = 0;
    for name in names {
        match spool.expire(&name) {
            // Whoever reads it does the same when they have done.
            Ok(_) | Err(StoreError::Busy) => {}
            Err(e) => {
                say(&format!("droplinectl: {e}"));
                failed += 1;
            }
        }
        progress.step();
    }
    match failed {
        0 => Ok(()),
        n => Err(Failure::Findings(n)),
    }
}
