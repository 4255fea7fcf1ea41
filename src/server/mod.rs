//! The daemon.
//!
//! A connection's way through it is one line, with no way back: `master` (accept, fork) -> `child` ->
//! `talk` (which dialect, which request, `principal`, the store, the reply) -> `_exit` -> `reaper`.
#![forbid(unsafe_code)]

mod child;
mod cli;
mod config;
mod connection;
mod detach;
mod gate;
mod helpers;
mod listener;
mod logging;
mod master;
mod notify;
mod pid_file;
mod principal;
mod privileges;
mod reaper;
mod reserve;
mod scoreboard;
mod signals;
mod sources;
mod supervisor;
mod talk;
mod transport;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use self::child::ChildContext;
use self::cli::Cli;
use self::config::{Config, LogTo, Sandbox};
use self::detach::{ReadyPipe, Side};
use self::listener::ListenError;
use self::master::{Leave, Master};
use self::pid_file::{PidFile, PidFileError};
use self::privileges::PrivilegeError;
use self::scoreboard::{Counter, Scoreboard};
use self::signals::Signals;
use crate::config::{DefaultPaths, PIPE_TIMEOUT, SOCKET};
use crate::store::{self, StoreConfig, StoreError};
use crate::sys::clock::Deadline;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::login::Account;
use crate::sys::process::{self, Pid};
use crate::sys::sandbox::{self, Lacking, Rules};
use crate::sys::signal;
use crate::sys::socket::Listener;
use crate::sys::title;

/// The exit statuses of sysexits.h that the daemon has.
mod exit {
    pub(super) const USAGE: u8 = 64;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const CONFIGURATION: u8 = 78;
}

/// `droplined`: from the command line to the exit status.
#[must_use]
pub fn main() -> ExitCode {
    signal::hear_of_children();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli.absolute(),
        Err(e) => {
            // Help and version go to standard output, and are no errors.
            let usage = if e.use_stderr() { exit::USAGE } else { 0 };
            return e
                .print()
                .map_or(ExitCode::from(exit::USAGE), |()| usage.into());
        }
    };
    logging::to_standard_error(cli.verbose);
    child::log_panics();
    let places = DefaultPaths::of_this_user();
    let places = places.as_ref();
    let config = match Config::load(&cli, places, PIPE_TIMEOUT) {
        Ok(config) => config,
        Err(e) => {
            log::error!("{e}");
            return exit::CONFIGURATION.into();
        }
    };
    if cli.daemon && config.log == LogTo::Stderr {
        log::warn!(
            "a daemon that detaches has no standard error: with log = \"stderr\" nothing is logged"
        );
    }
    if cli.check {
        log::info!("the configuration is valid");
        return ExitCode::SUCCESS;
    }
    let to_syslog = config.log == LogTo::Syslog || (cli.daemon && config.log == LogTo::Auto);
    if to_syslog && !config.syslog_socket.exists() {
        log::warn!(
            "there is no syslogd at {}: until there is one, nothing is logged",
            config.syslog_socket.display()
        );
    }
    let mut ready = ReadyPipe::none();
    if cli.daemon {
        logging::leave_standard_error();
        match detach::detach(cli.ready_fd) {
            Side::Command(Ok(())) => return ExitCode::SUCCESS,
            Side::Command(Err(e)) => {
                log::error!("{e}");
                return exit::UNAVAILABLE.into();
            }
            Side::Daemon(pipe) => ready = pipe,
        }
    }
    if to_syslog {
        logging::to_syslog(&config.syslog_socket);
    }
    match run(&cli, places, config, &mut ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            log::error!("{e}");
            ready.failed(&e.to_string());
            exit::UNAVAILABLE.into()
        }
    }
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    #[error("{0}, and the configuration says sandbox = \"require\"")]
    Sandbox(Lacking),
    #[error("cannot {0}: {1}{hint}", hint = few_descriptors(.1))]
    Action(&'static str, io::Error),
    #[error(transparent)]
    System(#[from] io::Error),
}

impl StartError {
    /// What was tried, beside what the kernel said: for `map_err`.
    fn doing(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |e| Self::Action(what, e)
    }
}

fn few_descriptors(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "; the limit (`ulimit -n`) is too low, 64 are enough",
        _ => "",
    }
}

/// What a start has made outside of this process, to be removed when it fails.
#[derive(Debug)]
struct Made {
    pid_file: PidFile,
    /// Whether there is a socket in the run directory that is ours.
    socket: bool,
}

impl Made {
    /// Removes all of it, the pid file last: while it is there, it is locked.
    fn undo(self, config: &Config) {
        if self.socket {
            listener::remove_socket(config);
        }
        self.pid_file.remove_with(scoreboard::FILE);
    }
}

/// The order of start: the pid file and the bound sockets, with the rights that the daemon was started with; then without
/// them the spool, the helper processes, and the sandbox. Only when it can serve, it listens, and says so.
fn run(
    cli: &Cli,
    places: Option<&DefaultPaths>,
    config: Config,
    ready: &mut ReadyPipe,
) -> Result<(), StartError> {
    let account = privileges::account(&config)?;
    if let Some(account) = &account {
        privileges::make_dir(&config.spool, 0o700, account)?;
        privileges::make_dir(&config.run_dir, 0o755, account)?;
    }
    let signals = Signals::trapped().map_err(StartError::doing("trap the signals"))?;
    let uid = account
        .as_ref()
        .map_or_else(Dir::own_user, |account| account.uid());
    let mut made = Made {
        pid_file: PidFile::write(&config.run_dir, uid)?,
        socket: false,
    };
    // The directories of a running daemon stay what they are.
    let places_of_things = config.clone();
    let served = serve(
        cli,
        places,
        config,
        ready,
        account.as_ref(),
        signals,
        &mut made,
    );
    made.undo(&places_of_things);
    served
}

/// What comes behind the pid file, until the daemon ends or cannot go on; children never come back from here.
fn serve(
    cli: &Cli,
    places: Option<&DefaultPaths>,
    mut config: Config,
    ready: &mut ReadyPipe,
    account: Option<&Account>,
    signals: Signals,
    made: &mut Made,
) -> Result<(), StartError> {
    let listeners = listener::bind(&config)?;
    made.socket = !listeners.inherited;
    if let Some(account) = account {
        privileges::become_account(account)?;
    }
    if let Err(e) = title::prepare() {
        log::info!("ps will not show what children do: {e}");
    }
    let mut store = store::open(&StoreConfig {
        spool: &config.spool,
        run_dir: Some(&config.run_dir),
        limits: config.limits(),
    })?;
    // Those of a child.
    let descriptors = store.useful_descriptors().min(process::most_descriptors()?);
    store.set_descriptor_limit(descriptors);
    let own = Pid::own();
    child::warm_up();
    let keep = store.descriptors();
    let board = Scoreboard::create(made.pid_file.dir())?;
    logging::count_lost_lines_in(board.lost_lines());
    store.on_disk_full(Box::new(move |e| board.complain_of_disk(e)));
    let supervisor = helpers::start(&mut *store, &listeners.all, &config);
    lay_sandbox(cli, places, &config)?;
    process::give_back_memory();
    listener::listen(&listeners, &config)?;
    let master = Master::new(listeners.all, signals, board, supervisor)
        .map_err(StartError::doing("count the threads of this process"))?;
    // Where the master's other things lie: each page that it writes to between two forks is copied.
    let mut master = Box::new(master);
    announce(&config, master.listeners(), cli.ready_fd)?;
    ready.listens();
    notify::ready("serving");
    loop {
        let context = ChildContext {
            master: own,
            board,
            config: &config,
            descriptors,
            keep: &keep,
            store: &*store,
        };
        match master.run(&config, &context)? {
            Leave::Reload => {
                notify::reloading();
                match reload(cli, places, &config) {
                    Some(new) => {
                        config = new;
                        store.set_limits(config.limits());
                        board.count(Counter::Reloads, 1);
                        notify::ready("serving");
                    }
                    None => notify::ready("serving by the old configuration: the new one is wrong"),
                }
            }
            Leave::End => {
                notify::stopping();
                // One that the service manager has made may be at the same place; somebody connects to it later.
                if made.socket {
                    listener::remove_socket(&config);
                    made.socket = false;
                }
                master.end(Deadline::after(config.drain_timeout))?;
                return Ok(());
            }
        }
    }
}

/// Logins and the configuration, time zones, what the kernel says, and /dev/null.
const READABLE: [&str; 4] = ["/etc", "/usr", "/proc", "/dev"];

/// Gives up what is not needed from now on, here and in all children.
fn lay_sandbox(
    cli: &Cli,
    places: Option<&DefaultPaths>,
    config: &Config,
) -> Result<(), StartError> {
    if config.sandbox == Sandbox::Off {
        return Ok(());
    }
    let writable = [&config.spool, &config.run_dir, Path::new("/dev/null")];
    let mut readable: Vec<&Path> = READABLE.iter().map(Path::new).collect();
    // So that SIGHUP can read it again.
    let usual = places.map(|places| places.config.as_path());
    let files = [cli.config.as_deref(), usual];
    readable.extend(files.into_iter().flatten().filter_map(Path::parent));
    let rules = Rules {
        writable: &writable,
        readable: &readable,
        programs: false,
    };
    let lacking = sandbox::lay(rules).map_err(StartError::doing("lay the sandbox"))?;
    for lack in lacking {
        if config.sandbox == Sandbox::Require {
            return Err(StartError::Sandbox(lack));
        }
        log::info!("the sandbox is without {lack}");
    }
    Ok(())
}

/// The configuration, read again; `None` when there is something wrong with it, and the one that was in force stays.
/// The listeners and the directories stay what they are.
fn reload(cli: &Cli, places: Option<&DefaultPaths>, before: &Config) -> Option<Config> {
    // Nobody is waited for: there are clients.
    match Config::load(cli, places, Duration::ZERO) {
        Ok(mut config) => {
            for key in config.keep_what_needs_a_restart(before) {
                log::warn!("{key} has changed; that takes effect when the daemon is started again");
            }
            log::info!("the configuration was read again");
            Some(config)
        }
        Err(e) => {
            log::error!("{e}; the configuration stays as it was");
            None
        }
    }
}

/// Says that the daemon listens, and where: in the log, and to the descriptor that was asked for.
fn announce(config: &Config, listeners: &[Listener], ready_fd: Option<i32>) -> io::Result<()> {
    let mut port = 0;
    for listener in listeners {
        match listener {
            Listener::Tcp(listener) => {
                log::info!("listening on {}", listener.local_addr()?);
                port = listener::local_port(listener);
            }
            Listener::Unix(_) => {
                let path = config.run_dir.join(SOCKET);
                log::info!("listening on {}", path.display());
            }
        }
    }
    log::info!("messages are in {}", config.spool.display());
    if let Some(fd) = ready_fd {
        let mut ready = file::inherited(fd).map_err(|e| {
            io::Error::new(
                e.kind(),
                format!("cannot write to descriptor {fd} of --ready-fd: {e}"),
            )
        })?;
        // One write, so that nobody reads half a port.
        if let Err(e) = ready.write_all(format!("{port}\n").as_bytes()) {
            log::warn!("cannot write to descriptor {fd} of --ready-fd: {e}");
        }
    }
    Ok(())
}
