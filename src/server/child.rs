//! A child: serves one connection and leaves by `_exit`, so that nothing of its parent's is undone in
//! it.

use std::net::{SocketAddr, TcpStream};
use std::panic::{self, AssertUnwindSafe};

use super::config::Config;
use super::connection::Connection;
use super::talk;
use crate::store::Store;
use crate::sys::process::{self, Pid};
use crate::sys::signal::{Blocked, Inbox, Signal};
use crate::wire::line;

/// The exit status of a child that has failed, for the master's log (EX_SOFTWARE of sysexits.h).
const FAILED: i32 = 70;

/// Serves `stream`. All signals are `blocked` when this is called, and all that was the master's has
/// been given back.
pub(super) fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    blocked: Blocked,
    master: Pid,
    config: &Config,
    store: &dyn Store,
) -> ! {
    // A panic here ends this child and nobody else.
    let served = panic::catch_unwind(AssertUnwindSafe(|| {
        // Ctrl-C in a terminal goes to every process of the daemon; a child finishes its request. The
        // parent's handlers never run here, as all signals stay blocked.
        blocked.for_good();
        let inbox = match Inbox::of(&[Signal::SIGINT, Signal::SIGTERM]) {
            Ok(inbox) => inbox,
            Err(e) => {
                log::error!("cannot wait for signals to serve {peer}: {e}");
                return false;
            }
        };
        if process::end_with(master) {
            talk::talk(Connection::new(stream, inbox), peer, config, store);
        }
        true
    }));
    process::exit_now(if matches!(served, Ok(true)) {
        0
    } else {
        FAILED
    })
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
