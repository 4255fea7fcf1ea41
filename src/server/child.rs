//! A child: serves one connection and leaves by `_exit`, so that nothing of its parent's is undone in
//! it.

use std::panic::{self, AssertUnwindSafe};

use super::config::Config;
use super::connection::Connection;
use super::scoreboard::Ticket;
use super::talk::{self, Ended};
use crate::store::Store;
use crate::sys::process::{self, Pid};
use crate::sys::signal::{Blocked, Inbox, Signal};
use crate::sys::socket::{Peer, Stream};
use crate::wire::line;

/// The exit status of a child that has failed, for the master's log (EX_SOFTWARE of sysexits.h).
const FAILED: i32 = 70;
/// That of one whose client spoke no dialect (EX_DATAERR).
pub(super) const GARBAGE: i32 = 65;
/// That of one whose client took too long (EX_TEMPFAIL).
pub(super) const TIMED_OUT: i32 = 75;
/// What a child begins with.
#[derive(Debug)]
pub(super) struct Client {
    /// The connection.
    pub(super) stream: Stream,
    /// Where it comes from.
    pub(super) peer: Peer,
    /// All signals are blocked.
    pub(super) blocked: Blocked,
}

/// Serves a client, with so many `descriptors`. All that was the master's has been given back when this is called.
pub(super) fn serve(
    client: Client,
    master: Pid,
    ticket: Ticket,
    config: &Config,
    descriptors: usize,
    store: &dyn Store,
) -> ! {
    let Client {
        stream,
        peer,
        blocked,
    } = client;
    // A panic here ends this child and nobody else.
    let served = panic::catch_unwind(AssertUnwindSafe(|| {
        // Ctrl-C in a terminal goes to every process of the daemon; a child finishes its request. The
        // parent's handlers never run here, as all signals stay blocked.
        blocked.for_good();
        ticket.take(peer);
        let inbox = Inbox::of(&[Signal::SIGINT, Signal::SIGTERM]);
        if let Err(e) = process::limit(config.child_memory, descriptors as u64) {
            log::error!("cannot limit what a child may use, to serve {peer}: {e}");
            return FAILED;
        }
        if !process::end_with(master) {
            return 0;
        }
        match talk::talk(Connection::new(stream, inbox), peer, ticket, config, store) {
            Ended::Well => 0,
            Ended::Garbage => GARBAGE,
            Ended::Slow => TIMED_OUT,
        }
    }));
    process::exit_now(served.unwrap_or(FAILED))
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
