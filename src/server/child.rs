//! A child: serves one connection and leaves by `_exit`, so that nothing of its parent's is undone in
//! it.

use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::panic::{self, AssertUnwindSafe};

use super::config::Config;
use super::connection::Connection;
use super::logging;
use super::scoreboard::Scoreboard;
use super::talk::{self, Ended};
use crate::store::Store;
use crate::sys::login;
use crate::sys::peer::Peer;
use crate::sys::process::{self, Pid};
use crate::sys::signal::{Blocked, Inbox, Signal};
use crate::sys::socket::Stream;
use crate::wire::line;

/// The exit status of a child that has failed, for the master's log (EX_SOFTWARE of sysexits.h).
const FAILED: i32 = 70;
/// That of one whose client spoke no dialect (EX_DATAERR).
pub(super) const GARBAGE: i32 = 65;
/// That of one whose client took too long (EX_TEMPFAIL).
pub(super) const TIMED_OUT: i32 = 75;

/// Whom a child is there for.
#[derive(Debug)]
pub(super) struct Client {
    /// The connection.
    pub(super) stream: Stream,
    /// Where it comes from.
    pub(super) peer: Peer,
    /// All signals are blocked.
    pub(super) blocked: Blocked,
    /// Its place on the scoreboard.
    pub(super) slot: usize,
    /// Whether there are so many children that each has less time.
    pub(super) in_a_hurry: bool,
}

/// What each child has from its master.
pub(super) struct Heritage<'a> {
    /// The master.
    pub(super) master: Pid,
    /// The scoreboard.
    pub(super) board: Scoreboard,
    /// The configuration in force.
    pub(super) config: &'a Config,
    /// How many descriptors it may have.
    pub(super) descriptors: usize,
    /// Those that the store needs. Others are closed.
    pub(super) keep: &'a [RawFd],
    /// The store.
    pub(super) store: &'a dyn Store,
}

impl Heritage<'_> {
    /// Serves a client, in a child that was just forked.
    pub(super) fn serve(&self, client: Client) -> ! {
        // A panic here ends this child and nobody else.
        let served = panic::catch_unwind(AssertUnwindSafe(|| {
            if client.in_a_hurry {
                let config = self.config.clone().in_a_hurry();
                self.talk(client, &config)
            } else {
                self.talk(client, self.config)
            }
        }));
        process::exit_now(served.unwrap_or(FAILED))
    }

    /// From the fork to the exit status.
    fn talk(&self, client: Client, config: &Config) -> i32 {
        let Client {
            stream,
            peer,
            blocked,
            slot,
            ..
        } = client;
        let mut keep = self.keep.to_vec();
        keep.extend([stream.as_fd().as_raw_fd(), logging::descriptor()]);
        // Of whoever comes from elsewhere, nobody asks for the login.
        let is_local = matches!(peer, Peer::Local { .. });
        keep.extend(login::descriptor().filter(|_| is_local));
        process::close_all_but(&mut keep);
        // Ctrl-C in a terminal goes to every process of the daemon; a child finishes its request. The
        // parent's handlers never run here, as all signals stay blocked.
        blocked.for_good();
        let whence = peer.to_string();
        let ticket = self.board.ticket(slot);
        ticket.take(&whence);
        self.store.set_process_number(slot);
        let inbox = Inbox::of(&[Signal::SIGINT, Signal::SIGTERM]);
        if let Err(e) = process::limit(config.child_memory, self.descriptors as u64) {
            log::error!("cannot limit what a child may use, to serve {whence}: {e}");
            return FAILED;
        }
        if !process::end_with(self.master) {
            return 0;
        }
        let connection = Connection::new(stream, inbox);
        match talk::talk(connection, peer, whence, ticket, config, self.store) {
            Ended::Well => 0,
            Ended::Garbage => GARBAGE,
            Ended::Slow => TIMED_OUT,
        }
    }
}

/// Does once, in the master, what each child would otherwise find out by itself: what the processor can do.
/// On a virtual machine, asking it (CPUID) costs about as much as the fork.
pub(super) fn warm_up() {
    std::hint::black_box(line::first_line(&[0; 64]));
    std::hint::black_box(crc32fast::hash(&[0; 256]));
}

/// Sends what a panic says to the log, in place of standard error.
pub(super) fn log_panics() {
    panic::set_hook(Box::new(|info| {
        log::error!("a bug in this program: {info}")
    }));
}
