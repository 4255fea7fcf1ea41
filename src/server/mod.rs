//! The daemon: a single-threaded master that forks a child for each connection.
//!
//! A connection passes through `master` (accept, `gate`, fork), `child` (descriptors, limits), `talk` (dialect,
//! request, `principal`, store, reply) and `_exit`; `reaper` reaps the child.
#![forbid(unsafe_code)]

mod access;
mod child;
mod children;
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
mod owners;
mod patience;
mod penalties;
mod pending;
mod phase;
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

use self::access::Access;
use self::child::ChildContext;
use self::cli::Cli;
use self::config::{Config, LogTo, Sandbox};
use self::detach::{ReadyPipe, Side};
use self::listener::{Bound, ListenError, SocketFile};
use self::logging::PACED;
use self::master::{Leave, Master};
use self::notify::ServiceManager;
use self::pid_file::{PidFile, PidFileError};
use self::privileges::PrivilegeError;
use self::scoreboard::{Counter, Scoreboard};
use self::signals::Signals;
use self::sources::SourceFinder;
use crate::config::{DefaultPaths, PIPE_TIMEOUT};
use crate::name::Name;
use crate::store::{self, StoreConfig, StoreError};
use crate::sys::file;
use crate::sys::login::{Account, LoginDirectory};
use crate::sys::process::{self, Pid};
use crate::sys::sandbox::{self, Calls, ChildDomain, Lacking, Rules};
use crate::sys::shared;
use crate::sys::signal;
use crate::sys::socket::Listener;
use crate::sys::title;

/// Exit statuses of the daemon (sysexits.h).
mod exit {
    pub(super) const USAGE: u8 = 64;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const CONFIGURATION: u8 = 78;
}

/// Runs `droplined` and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    signal::hear_of_children();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli.absolute(),
        Err(e) => {
            // clap returns --help and --version as errors, but prints them to standard output.
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

/// Why the daemon cannot start or continue.
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
    /// For `map_err`: adds the action that failed to the system's error.
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

/// The files that this process has made in the run directory and must remove when it ends.
#[derive(Debug)]
struct Made {
    pid_file: PidFile,
    /// The sockets that this process has bound. Those of a service manager must stay.
    sockets: Vec<SocketFile>,
}

impl Made {
    fn remove_sockets(&mut self) {
        self.sockets.drain(..).for_each(|socket| socket.remove());
    }

    /// Removes the files, the pid file last: its lock keeps a second daemon out until the other files are removed.
    fn undo(mut self) {
        self.remove_sockets();
        self.pid_file.remove_with(scoreboard::FILE);
    }
}

/// Starts the daemon and runs it until it ends. It binds the TCP ports with the privileges that it was started with.
/// Root creates the directories of the account, and does nothing by path in them: it takes the pid file as the account,
/// and becomes it before it binds the socket, opens the spool, starts the helper processes and applies the sandbox. It
/// listens and reports that it is ready only when it can serve clients.
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
    let run_dir = config.run_dir.clone();
    let signals = Signals::trapped().map_err(StartError::doing("trap the signals"))?;
    let mut made = Made {
        pid_file: PidFile::write(&config.run_dir, account.as_ref())?,
        sockets: Vec::new(),
    };
    let served = serve(
        cli,
        places,
        config,
        ready,
        account.as_ref(),
        signals,
        &mut made,
    );
    // A start that has failed early is still root's.
    if let Err(e) = privileges::as_account(account.as_ref(), || made.undo()) {
        log::warn!("cannot remove the files in {}: {e}", run_dir.display());
    }
    served
}

/// Does everything that needs the pid file, until the daemon ends or fails. Children do not return from here.
fn serve(
    cli: &Cli,
    places: Option<&DefaultPaths>,
    mut config: Config,
    ready: &mut ReadyPipe,
    account: Option<&Account>,
    signals: Signals,
    made: &mut Made,
) -> Result<(), StartError> {
    let must_listen = cli.port().is_some() || !cli.bind.is_empty();
    let mut listeners = listener::bind(&config, must_listen)?;
    if let Some(account) = account {
        privileges::become_account(account)?;
    }
    listeners.bind_sockets(&config, &mut made.sockets)?;
    if let Err(e) = title::prepare() {
        log::info!("ps will not show what children do: {e}");
    }
    let mut store = store::open(&StoreConfig {
        spool: &config.spool,
        run_dir: Some(&config.run_dir),
        limits: config.limits(),
        reserves: &|name| config.reserves(name),
    })?;
    // The descriptor limit of a child.
    let descriptors = store.useful_descriptors().min(process::most_descriptors()?);
    store.set_descriptor_limit(descriptors);
    let own = Pid::own();
    child::warm_up();
    let keep = store.descriptors();
    let board = Scoreboard::create(made.pid_file.dir())?;
    logging::count_lost_lines_in(board.lost_lines());
    store
        .share_usage(board.open_usage())
        .map_err(StartError::doing("share memory"))?;
    store.on_disk_full(Box::new(move |e| board.complain_of_disk(e)));
    let logins = LoginDirectory::open().map_err(StartError::doing("read the logins"))?;
    let canaries = store.canaries()?;
    logins.expect(canaries.iter().map(Name::as_str));
    let words = shared::words(Access::SHARED_WORDS + logging::SHARED_WORDS)
        .map_err(StartError::doing("share memory"))?;
    let (of_access, of_log) = words.split_at(Access::SHARED_WORDS);
    let mut access = Access::new(of_access);
    logging::leave_out_repeats(of_log);
    let manager = ServiceManager::connect();
    let supervisor = helpers::start(&mut *store, &config);
    let finder = SourceFinder::open();
    let domain = lay_sandbox(cli, places, &config)?;
    process::give_back_memory();
    listeners.listen(&config)?;
    let master = Master::new(listeners, signals, board, supervisor, finder)
        .map_err(StartError::doing("count the threads of this process"))?;
    // Allocated from the master's own heap: each page that the master writes to between two forks is copied.
    let mut master = Box::new(master);
    announce(&config, master.listeners(), cli.ready_fd)?;
    ready.listens();
    manager.ready("serving");
    loop {
        let context = ChildContext {
            master: own,
            board,
            config: &config,
            descriptors,
            keep: &keep,
            store: &*store,
            logins: &logins,
            access,
            domain: &domain,
        };
        match master.run(&config, &context)? {
            Leave::Reload => {
                manager.reloading();
                match reload(cli, places, &config) {
                    Some(new) => {
                        if new.is_narrower_than(&config) {
                            access.narrow();
                        }
                        config = new;
                        store.set_limits(config.limits());
                        board.count(Counter::Reloads, 1);
                        manager.ready("serving");
                    }
                    None => {
                        manager.ready("serving with the old configuration: the new one is invalid")
                    }
                }
            }
            Leave::End => {
                manager.stopping();
                made.remove_sockets();
                master.end(&config)?;
                return Ok(());
            }
        }
    }
}

/// The directories that the sandbox leaves readable: for logins and the configuration, time zones, /proc and /dev/null.
const READABLE: [&str; 4] = ["/etc", "/usr", "/proc", "/dev"];

/// Applies the sandbox to this process and to all children that it forks from now on. Returns what each child gives up
/// beyond that.
fn lay_sandbox(
    cli: &Cli,
    places: Option<&DefaultPaths>,
    config: &Config,
) -> Result<ChildDomain, StartError> {
    if config.sandbox == Sandbox::Off {
        return Ok(ChildDomain::none());
    }
    let writable = [&config.spool, &config.run_dir, Path::new("/dev/null")];
    let mut readable: Vec<&Path> = READABLE.iter().map(Path::new).collect();
    // SIGHUP reads the configuration file again.
    let usual = places.map(|places| places.config.as_path());
    let files = [cli.config.as_deref(), usual];
    readable.extend(files.into_iter().flatten().filter_map(Path::parent));
    // The end removes the sockets.
    let sockets = config.socket.iter();
    let removable: Vec<_> = sockets.filter_map(|entry| entry.path.parent()).collect();
    let rules = Rules {
        writable: &writable,
        readable: &readable,
        removable: &removable,
        calls: Calls::Serve,
    };
    let domain = ChildDomain::prepared();
    let lacking = sandbox::lay(rules).map_err(StartError::doing("set up the sandbox"))?;
    for lack in lacking {
        if config.sandbox == Sandbox::Require {
            return Err(StartError::Sandbox(lack));
        }
        log::info!("the sandbox is without {lack}");
    }
    Ok(domain)
}

/// Reads the configuration again. Returns `None` when it is invalid; the old one then stays in force. Keys that need a
/// restart keep their old values.
fn reload(cli: &Cli, places: Option<&DefaultPaths>, before: &Config) -> Option<Config> {
    // The timeout is zero because clients would have to wait for the writer of a pipe.
    match Config::load(cli, places, Duration::ZERO) {
        Ok(mut config) => {
            let keys = config.keep_what_needs_a_restart(before);
            if !keys.is_empty() {
                log::warn!(
                    target: PACED,
                    "{} {} changed; that takes effect when the daemon is started again",
                    keys.join(", "),
                    if keys.len() == 1 { "has" } else { "have" }
                );
            }
            log::info!("the configuration was read again");
            Some(config)
        }
        Err(e) => {
            log::error!(target: PACED, "{e}; the configuration stays as it was");
            None
        }
    }
}

/// Logs the addresses that the daemon listens on and writes the port to the descriptor of --ready-fd.
fn announce(config: &Config, listeners: &[Bound], ready_fd: Option<i32>) -> io::Result<()> {
    // If none of the addresses can be used yet, it is the port that they will have.
    let mut port = config.port;
    for bound in listeners {
        match &bound.listener {
            Listener::Tcp(listener) => {
                log::info!("listening on {}", listener.local_addr()?);
                port = listener::local_port(listener);
            }
            Listener::Unix(_) => {
                let path = listener::path_of(bound, config);
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
        // A single write, so that the reader cannot see a part of the number.
        if let Err(e) = ready.write_all(format!("{port}\n").as_bytes()) {
            log::warn!("cannot write to descriptor {fd} of --ready-fd: {e}");
        }
    }
    Ok(())
}
