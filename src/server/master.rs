//! The master: a loop that accepts connections and forks a child for each.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::child::{Accepted, ChildContext};
use super::children::Children;
use super::config::Config;
use super::gate::{Barred, Gate, Place, refuse};
use super::listener::{Bound, Listeners};
use super::logging::{self, AtMostOften, PACED, PACED_AUTH};
use super::patience::Evicted;
use super::pending::Retries;
use super::reserve::{Pause, Reserve};
use super::scoreboard::{Counter, Scoreboard};
use super::signals::Signals;
use super::sources::{Newcomer, SourceFinder};
use super::supervisor::Supervisor;
use crate::sys::clock::Deadline;
use crate::sys::heap;
use crate::sys::peer::Peer;
use crate::sys::poll::{self, Want};
use crate::sys::process::{self, Fork};
use crate::sys::signal::{Blocked, SIGHUP, SIGUSR1};
use crate::sys::socket::{self, Listener, Stream};
use crate::wire::line::Refusal;

/// The number of connections accepted from a listener before signals are checked again.
const ACCEPTS_A_WAKE: usize = 64;

/// The initial capacity of the tables of children. They are allocated together, so that they share few pages: after a
/// fork, each page that the master writes to is copied.
const EXPECTED_CHILDREN: usize = 28;

/// The index of the first listener in the poll set. Two descriptors that report signals and the watch of the logins
/// precede it.
const FIRST_LISTENER: usize = 3;

#[derive(Debug)]
pub(super) struct Master {
    listeners: Vec<Bound>,
    /// Addresses that it does not listen on yet.
    retries: Retries,
    signals: Signals,
    children: Children,
    finder: SourceFinder,
    gate: Gate,
    board: Scoreboard,
    /// Spare descriptors, which each child closes to make room for its own files.
    _reserve: Reserve,
    pause: Pause,
    complaints: AtMostOften,
    refusals: AtMostOften,
    shortages: AtMostOften,
    /// Whether `max_children` was reached at the last check.
    was_full: bool,
    /// When the children were last checked for those that must yield.
    checked: Option<Instant>,
}

/// Why [`Master::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// A signal requested a reload of the configuration.
    Reload,
    /// A signal requested a shutdown.
    End,
}

impl Master {
    /// Returns a master for these listeners and signals, and for the supervisor if there is one. `finder` finds the
    /// source of each connection.
    ///
    /// # Errors
    /// When this process has more than one thread, because forking would not be safe.
    pub(super) fn new(
        listeners: Listeners,
        signals: Signals,
        board: Scoreboard,
        supervisor: Option<Supervisor>,
        finder: SourceFinder,
    ) -> io::Result<Self> {
        let threads = process::threads()?;
        if threads != 1 {
            let message =
                format!("the process has {threads} threads before its first fork, not one");
            return Err(io::Error::other(message));
        }
        // Later allocations of the master usually fit into one page.
        heap::use_masters();
        Ok(Self {
            listeners: listeners.all,
            retries: Retries::new(listeners.pending),
            signals,
            children: Children::new(board, EXPECTED_CHILDREN, supervisor),
            finder,
            gate: Gate::default(),
            board,
            _reserve: Reserve::take(),
            pause: Pause::default(),
            complaints: AtMostOften::default(),
            refusals: AtMostOften::default(),
            shortages: AtMostOften::default(),
            was_full: false,
            checked: None,
        })
    }

    /// Accepts connections and forks children until a signal requests a reload or a shutdown. A child serves its client
    /// with `context` and does not return, so that it runs no destructor of the master.
    ///
    /// # Errors
    /// When waiting or blocking signals fails. A client cannot cause this.
    pub(super) fn run(&mut self, config: &Config, context: &ChildContext<'_>) -> io::Result<Leave> {
        // The limits may be new.
        self.children.is_tight = true;
        loop {
            let pause = self.pause.left();
            let accepting = pause.is_none();
            let due = logging::report_repeats(false);
            let mut pause = pause.into_iter().chain(due).min();
            self.tell_when_full(config);
            // No descriptor becomes ready when a client has waited long enough.
            if let Some(every) = self.children.check_every(config) {
                self.check(every, config);
                pause = Some(pause.unwrap_or(every).min(every));
            }
            if let Some(left) = self.retries.left() {
                let listening = self.retries.listen().into_iter().map(Listener::Tcp);
                self.listeners.extend(listening.map(Bound::from));
                pause = Some(pause.unwrap_or(left).min(left));
            }
            let mut fds = Vec::with_capacity(FIRST_LISTENER + self.listeners.len());
            fds.push((self.signals.asked.fd(), Want::Read));
            fds.push((self.signals.ends.fd()?, Want::Read));
            fds.push((context.logins.fd(), Want::Read));
            let mut polled = Vec::with_capacity(self.listeners.len());
            for (index, bound) in self.listeners.iter().enumerate() {
                if accepting && self.takes_more(&bound.listener, config) {
                    fds.push((bound.listener.as_fd(), Want::Read));
                    polled.push(index);
                }
            }
            let ready = poll::wait(&fds, pause)?;
            if ready.has(1) && self.signals.ends.came() {
                self.children.reap(&mut self.gate.penalties, config);
            }
            // Before a connection is accepted: its child must know all logins.
            if ready.has(2) {
                context.logins.refresh();
            }
            if ready.has(0) {
                self.signals.asked.drain();
                if self.signals.asked.came(SIGUSR1) {
                    let running = self.children.count();
                    log::info!("children {running}, {}", self.board.summary());
                }
                if self.signals.asked_to_end() {
                    return Ok(Leave::End);
                }
                if self.signals.asked.came(SIGHUP) {
                    return Ok(Leave::Reload);
                }
            }
            for (at, &index) in polled.iter().enumerate() {
                if ready.has(at + FIRST_LISTENER) {
                    self.accept_from(index, config, context)?;
                }
            }
        }
    }

    fn is_full(&self, config: &Config) -> bool {
        self.children.count() >= config.max_children
    }

    /// Returns whether to accept connections from `listener`, either to serve them or to refuse them at once. Root may
    /// wait in the queue of a Unix socket.
    fn takes_more(&self, listener: &Listener, config: &Config) -> bool {
        match listener {
            Listener::Tcp(_) => !self.is_full(config) || self.is_crowd(config),
            Listener::Unix(_) => true,
        }
    }

    /// Logs and counts each time that `max_children` is reached.
    fn tell_when_full(&mut self, config: &Config) {
        let is_full = self.is_full(config);
        if is_full && !self.was_full {
            self.board.count(Counter::Full, 1);
            self.shortages.warn(
                PACED,
                format_args!(
                    "all max_children = {} are busy: connections wait",
                    config.max_children
                ),
            );
        }
        self.was_full = is_full;
    }

    /// Returns whether at least `early_drop` connections have not completed a request.
    fn is_crowd(&self, config: &Config) -> bool {
        self.children.count() >= config.early_drop && self.children.unserved() >= config.early_drop
    }

    /// Makes connections yield that have waited too long, if the last check was `every` ago.
    fn check(&mut self, every: Duration, config: &Config) {
        if self.checked.is_some_and(|last| last.elapsed() < every) {
            return;
        }
        self.checked = Some(Instant::now());
        let Evicted { slow, waiting } = self.children.enforce_patience(config);
        if slow > 0 {
            self.refusals.warn(
                PACED_AUTH,
                format_args!(
                    "evicted {slow} connections whose clients took too long while few places were free"
                ),
            );
        }
        if waiting > 0 {
            self.refusals.warn(
                PACED_AUTH,
                format_args!(
                    "evicted {waiting} sessions that only waited (waiting_percent, waiting_source_percent)"
                ),
            );
        }
    }

    /// Accepts the connections that wait at one listener.
    fn accept_from(
        &mut self,
        index: usize,
        config: &Config,
        context: &ChildContext<'_>,
    ) -> io::Result<()> {
        for _ in 0..ACCEPTS_A_WAKE {
            // The fork for the previous connection may have failed.
            let pauses = self.pause.left().is_some();
            let Bound { listener, entry } = &self.listeners[index];
            if pauses || !self.takes_more(listener, config) {
                break;
            }
            match socket::accept(listener) {
                Ok((stream, peer)) => {
                    let peer = entry.map_or(peer, |entry| peer.of_socket(entry));
                    self.board.count(Counter::Connections, 1);
                    let client = self.finder.newcomer(&stream, peer, context.logins);
                    match self.gate.admit(&client, &mut self.children, config) {
                        Ok(place) => {
                            self.count_eviction(place);
                            self.fork_for(stream, client, config, context)?;
                        }
                        Err(barred) => self.turn_away(&stream, peer, barred),
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if is_of_the_connection(&e) => {}
                Err(e) => {
                    self.board.count(Counter::Shortages, 1);
                    self.complaints.warn(
                        PACED,
                        format_args!("cannot accept a connection: {e}; trying again"),
                    );
                    self.pause.begin();
                    break;
                }
            }
        }
        Ok(())
    }

    fn count_eviction(&mut self, place: Place) {
        if let Some(counter) = place.counter() {
            self.board.count(counter, 1);
            self.refusals.warn(
                PACED_AUTH,
                format_args!("a connection yields its place to another one (evictions_per_second)"),
            );
        }
    }

    fn turn_away(&mut self, stream: &Stream, peer: Peer, barred: Barred) {
        self.board.count(barred.counter(), 1);
        refuse(stream, barred.refusal());
        let reason = barred.reason();
        self.refusals.warn(
            PACED_AUTH,
            format_args!("a connection from {peer} is refused: {reason}"),
        );
    }

    // Not inlined, so that a child causes few page faults in the master's code.
    #[inline(never)]
    fn fork_for(
        &mut self,
        stream: Stream,
        client: Newcomer,
        config: &Config,
        context: &ChildContext<'_>,
    ) -> io::Result<()> {
        let peer = client.peer;
        let slot = self.children.next_slot();
        // The child inherits the master's handlers, which would wake the master for a signal to the child.
        let blocked = Blocked::all()?;
        match process::fork() {
            Ok(Fork::Child) => {
                heap::use_childs();
                context.serve(Accepted {
                    stream,
                    client,
                    blocked,
                    slot,
                })
            }
            Ok(Fork::Parent(pid)) => {
                self.children.add(pid, client, config);
                self.board.count(Counter::Forks, 1);
            }
            Err(e) => {
                self.board.count(Counter::Shortages, 1);
                self.complaints.warn(
                    PACED,
                    format_args!("cannot fork a child for {peer}: {e}; trying again"),
                );
                refuse(&stream, Refusal::NoProcess);
                self.pause.begin();
            }
        }
        Ok(())
    }

    pub(super) fn listeners(&self) -> &[Bound] {
        &self.listeners
    }

    /// Closes the listeners, lets the children finish for `drain_timeout` or until a second signal, and kills the
    /// others.
    ///
    /// # Errors
    /// When waiting fails.
    pub(super) fn end(mut self, config: &Config) -> io::Result<()> {
        let deadline = Deadline::after(config.drain_timeout);
        self.listeners.clear();
        self.children.reap(&mut self.gate.penalties, config);
        match self.children.count() {
            0 => {}
            n => log::info!("ending; waiting for {n} requests to finish"),
        }
        self.children.ask_to_end();
        let mut again = false;
        while self.children.count() > 0 && !deadline.passed() && !again {
            let asked = (self.signals.asked.fd(), Want::Read);
            let ended = (self.signals.ends.fd()?, Want::Read);
            poll::wait(&[asked, ended], Some(deadline.left()))?;
            self.signals.asked.drain();
            self.signals.ends.came();
            self.children.reap(&mut self.gate.penalties, config);
            again = self.signals.asked_to_end();
        }
        let unfinished = self.children.count();
        self.children.kill(deadline, again);
        logging::report_repeats(true);
        match unfinished {
            0 => log::info!("ended"),
            n if again => {
                log::warn!("a second signal: ended at once, with {n} requests unfinished")
            }
            n => log::warn!("ended, with {n} requests that did not finish in time"),
        }
        Ok(())
    }
}

/// Returns whether an error of accept(2) concerns that connection only (see "Error handling" there), so that the next
/// one can be accepted at once.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::dir::Dir;

    #[test]
    fn refuses_a_process_with_two_threads() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(dir.path()).expect("opened");
        let board = Scoreboard::create(&dir).expect("made");
        let wait = || std::thread::park_timeout(Duration::from_secs(60));
        let other = std::thread::spawn(wait);
        let signals = Signals::trapped().expect("trapped");
        let error = Master::new(
            Listeners::default(),
            signals,
            board,
            None,
            SourceFinder::open(),
        )
        .expect_err("not alone");
        assert!(error.to_string().contains("threads before its first fork"));
        other.thread().unpark();
        other.join().expect("joined");
    }
}
