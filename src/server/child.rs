//! A child: serves one connection and leaves by `_exit`, so that no destructor of its parent runs in it.

use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::panic::{self, AssertUnwindSafe};

use super::access::Access;
use super::config::{Config, Sandbox};
use super::connection::{Connection, YIELD};
use super::logging;
use super::principal::Owners;
use super::scoreboard::Scoreboard;
use super::sources::Newcomer;
use super::talk::{self, Ended};
use crate::store::Store;
use crate::sys::login::{self, LoginDirectory};
use crate::sys::peer::Peer;
use crate::sys::process::{self, Pid};
use crate::sys::sandbox::ChildDomain;
use crate::sys::signal::{Blocked, Inbox, Signal};
use crate::sys::socket::Stream;
use crate::wire::line;

/// The exit status of a child that has failed (EX_SOFTWARE of sysexits.h).
const FAILED: i32 = 70;
/// The exit status of a child whose client sent garbage (EX_DATAERR).
pub(super) const GARBAGE: i32 = 65;
/// The exit status of a child whose client took too long (EX_TEMPFAIL).
pub(super) const TIMED_OUT: i32 = 75;
/// Like [`TIMED_OUT`], of a child whose client had begun a request (EX_PROTOCOL).
pub(super) const HALF_SAID: i32 = 76;

/// An accepted connection, for the child that serves it.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: Stream,
    pub(super) client: Newcomer,
    /// Keeps all signals blocked.
    pub(super) blocked: Blocked,
    /// The child's slot on the scoreboard.
    pub(super) slot: usize,
}

/// What the children need from the master.
pub(super) struct ChildContext<'a> {
    /// The master's pid.
    pub(super) master: Pid,
    pub(super) board: Scoreboard,
    pub(super) config: &'a Config,
    /// The descriptor limit of a child.
    pub(super) descriptors: usize,
    /// The descriptors that the store needs.
    pub(super) keep: &'a [RawFd],
    pub(super) store: &'a dyn Store,
    pub(super) logins: &'a LoginDirectory,
    pub(super) access: Access,
    pub(super) domain: &'a ChildDomain,
}

impl ChildContext<'_> {
    /// Serves a connection in the child that was just forked for it.
    pub(super) fn serve(&self, accepted: Accepted) -> ! {
        // A panic ends this child only.
        let served = panic::catch_unwind(AssertUnwindSafe(|| self.talk(accepted)));
        process::exit_now(served.unwrap_or(FAILED))
    }

    /// Sets up the process, serves the connection and returns the exit status.
    fn talk(&self, accepted: Accepted) -> i32 {
        let Accepted {
            mut stream,
            client,
            blocked,
            slot,
        } = accepted;
        let (config, peer) = (self.config, client.peer);
        if let Err(e) = self.domain.enter() {
            log::error!("cannot limit the signals of the child for {peer}: {e}");
            if config.sandbox == Sandbox::Require {
                return FAILED;
            }
        }
        let mut keep = self.keep.to_vec();
        keep.extend([stream.as_fd().as_raw_fd(), logging::descriptor()]);
        keep.extend(login::descriptors());
        process::close_all_but(&mut keep);
        // Ctrl-C in a terminal signals every process of the daemon, but a child finishes its request. All signals stay
        // blocked, so that the master's handlers never run here.
        blocked.for_good();
        let origin = origin(peer, config);
        let status = self.board.child(slot, config.titles);
        status.take(&origin);
        self.store.set_process_number(slot);
        let inbox = Inbox::of(&[Signal::SIGINT, Signal::SIGTERM, YIELD]);
        if let Err(e) = process::limit(config.child_memory, self.descriptors as u64) {
            log::error!("cannot set the resource limits of the child for {origin}: {e}");
            return FAILED;
        }
        if !process::end_with(self.master) {
            return 0;
        }
        let connection = Connection::new(&mut stream, inbox, status);
        let owners = Owners {
            store: self.store,
            logins: self.logins,
            config,
            access: self.access,
        };
        match talk::serve(connection, client, origin, status, owners) {
            Ended::Well => 0,
            Ended::Garbage => GARBAGE,
            Ended::Slow => TIMED_OUT,
            Ended::HalfSaid => HALF_SAID,
        }
    }
}

/// Returns the address of a client, or its user and its socket, as text for people.
fn origin(peer: Peer, config: &Config) -> String {
    match peer {
        Peer::Named { socket, .. } => match config.socket.get(socket) {
            Some(entry) => format!("{peer} on {}", entry.path.display()),
            None => peer.to_string(),
        },
        Peer::Inet(_) | Peer::Local { .. } => peer.to_string(),
    }
}

/// Detects the processor's features in the master, so that the children need not. On a virtual machine, CPUID costs
/// about as much as the fork.
pub(super) fn warm_up() {
    std::hint::black_box(line::first_line(&[0; 64]));
    std::hint::black_box(crc32fast::hash(&[0; 256]));
}

/// Sends panic messages to the log instead of standard error.
pub(super) fn log_panics() {
    panic::set_hook(Box::new(|info| {
        log::error!("a bug in this program: {info}")
    }));
}
