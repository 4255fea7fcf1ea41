//! `droplinectl`, the operator's tool.
#![forbid(unsafe_code)]

mod archive;
mod board;
mod check;
mod cli;
mod config;
mod export;
mod failure;
mod import;
mod list;
mod owners;
mod progress;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use self::cli::{Cli, Command};
use self::failure::{Failure, exit};
use crate::config::Limits;
use crate::store::{self, Engine, RestoreTo, StoreConfig};
use crate::sys::{login, stdio};

/// Runs `droplinectl`, from the command line to the exit status.
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
    failure::show_log();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure::say(&failure);
            failure.exit_status().into()
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    if stdio::output_is_closed() {
        return Err(io::Error::from_raw_os_error(nix::libc::EBADF).into());
    }
    match &cli.command {
        Command::Status { json } => board::status(&cli.run_dir(), *json),
        Command::Top { times } => board::top(&cli.run_dir(), *times),
        Command::Metrics => board::metrics(&cli.run_dir()),
        Command::Users => beside_the_daemon(&cli.spool()?, |store| list::users(&*store)),
        Command::Queue { name } => {
            beside_the_daemon(&cli.spool()?, |store| list::queue(&*store, name.as_ref()))
        }
        Command::History { name } => {
            beside_the_daemon(&cli.spool()?, |store| list::history(&*store, name))
        }
        Command::Expire => {
            let limits = cli.settings()?.limits();
            beside_the_daemon(&cli.spool()?, |mut store| {
                store.set_limits(limits);
                check::expire(&*store)
            })
        }
        Command::Release {
            name: Some(name),
            restore,
            to_new_owner,
            ..
        } => with_its_clients(cli, |store| match (restore, to_new_owner) {
            (_, true) => owners::restore(store, name, RestoreTo::PresentOwner),
            (true, false) => owners::restore(store, name, RestoreTo::FormerOwner),
            (false, false) => owners::release(store, name),
        }),
        Command::Release { list: true, .. } => {
            beside_the_daemon(&cli.spool()?, |store| owners::list(&*store))
        }
        Command::Release { dry_run, .. } => {
            with_its_clients(cli, |store| owners::release_gone(store, *dry_run))
        }
        Command::Owner { name, uid } => {
            with_its_clients(cli, |store| owners::assign(store, name, *uid))
        }
        Command::Check {
            repair: false,
            names,
        } => beside_the_daemon(&cli.spool()?, |store| check::check(&*store, names)),
        Command::Check {
            repair: true,
            names,
        } => {
            let path = cli.spool()?;
            beside_the_daemon(&path, |store| {
                drop(store);
                instead_of_the_daemon(cli, &path, |store| check::repair(store, names))
            })
        }
        Command::Export => beside_the_daemon(&cli.spool()?, |store| export::export(&*store)),
        Command::Import { missing } => instead_of_the_daemon(cli, &cli.spool()?, |store| {
            import::import(store, io::stdin().lock(), *missing)
        }),
    }
}

/// Runs `work` on the spool at `path`, also while a daemon uses it. Recovers the journal of a killed daemon first.
///
/// # Errors
/// Those of `work`; then [`Failure::Missing`] if some accepted messages could not be recovered.
fn beside_the_daemon(
    path: &Path,
    work: impl FnOnce(Box<dyn Engine>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    look_at(&settings(path), work)
}

fn look_at(
    settings: &StoreConfig<'_>,
    work: impl FnOnce(Box<dyn Engine>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    become_owner(settings.spool)?;
    let (store, missing) = store::look_at(settings)?;
    work(store)?;
    missing.map_or(Ok(()), |e| Err(Failure::Missing(e)))
}

/// Like [`beside_the_daemon`], for `work` that affects the clients of the daemon: it can end their presence, and wake
/// those that watch a mailbox.
fn with_its_clients(
    cli: &Cli,
    work: impl FnOnce(&dyn Engine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let spool = cli.spool()?;
    let run_dir = cli.run_dir_of_spool();
    if run_dir.is_none() {
        failure::say(format_args!(
            "the run directory of the daemon that uses {} is not known, so that clients notice this late; name it with \
             --run-dir",
            spool.display()
        ));
    }
    let settings = StoreConfig {
        run_dir: run_dir.as_deref(),
        ..settings(&spool)
    };
    look_at(&settings, |store| work(&*store))
}

/// Runs `work` with exclusive use of the spool at `path`. Fails if a daemon uses it. Creates a missing spool.
fn instead_of_the_daemon(
    cli: &Cli,
    path: &Path,
    work: impl FnOnce(&dyn Engine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let config = cli.settings()?;
    become_owner(path)?;
    let store = store::open(&StoreConfig {
        reserves: &|name| config.reserves(name),
        ..settings(path)
    })?;
    work(&*store)
}

fn settings(spool: &Path) -> StoreConfig<'_> {
    StoreConfig {
        spool,
        run_dir: None,
        limits: Limits::default(),
        // Only opening it for exclusive use can upgrade it.
        reserves: &|_| false,
    }
}

/// Switches from root to the owner of the spool, so that files created in the spool belong to that owner.
fn become_owner(spool: &Path) -> Result<(), Failure> {
    login::become_owner(spool).map_err(|e| Failure::Owner(spool.to_owned(), e))
}
