//! Addresses of the configuration that cannot be used yet: the interface is not there, or another program has the port.
//! The daemon serves without them, and tries again.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::sys::clock::Deadline;
use crate::sys::socket;

/// The interval between two attempts.
const RETRY: Duration = Duration::from_secs(5);

/// An address that the daemon does not listen on yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) address: SocketAddr,
    /// The socket. It was made before the sandbox, which may forbid to make one.
    socket: TcpListener,
    /// Whether the socket is bound, and only listen(2) is left to do.
    is_bound: bool,
    /// The last error that the log has.
    last: Option<io::ErrorKind>,
}

/// Returns what to do about an address that cannot be used.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program has the port (or the address is named twice): end it, or choose one with -p"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for root",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        _ => "",
    }
}

/// Returns whether the error can go away while the daemon runs.
pub(super) fn is_temporary(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}

impl Pending {
    /// Returns the address with its socket, and logs why it cannot be used.
    pub(super) fn new(
        address: SocketAddr,
        socket: TcpListener,
        is_bound: bool,
        why: &io::Error,
    ) -> Self {
        let last = None;
        let mut pending = Self {
            address,
            socket,
            is_bound,
            last,
        };
        pending.complain(why);
        pending
    }

    /// Logs the error, unless it is the last one again.
    fn complain(&mut self, why: &io::Error) {
        if self.last.replace(why.kind()) != Some(why.kind()) {
            let (address, hint) = (self.address, hint(why));
            log::error!(
                "cannot listen on {address}: {why}{hint}; the daemon serves without it, and tries again every {} s",
                RETRY.as_secs()
            );
        }
    }

    fn try_again(&mut self) -> io::Result<()> {
        if !self.is_bound {
            socket::bind(&self.socket, self.address)?;
            self.is_bound = true;
        }
        socket::listen(&self.socket)
    }
}

/// The addresses that the master tries again.
#[derive(Debug)]
pub(super) struct Retries {
    pending: Vec<Pending>,
    due: Deadline,
}

impl Retries {
    pub(super) fn new(pending: Vec<Pending>) -> Self {
        Self {
            pending,
            due: Deadline::after(RETRY),
        }
    }

    /// Returns the time until the next attempt; `None` when all addresses are in use.
    pub(super) fn left(&self) -> Option<Duration> {
        (!self.pending.is_empty()).then(|| self.due.left())
    }

    /// Tries all addresses again, if it is time to. Returns the sockets that now listen.
    pub(super) fn listen(&mut self) -> Vec<TcpListener> {
        if self.pending.is_empty() || !self.due.passed() {
            return Vec::new();
        }
        self.due = Deadline::after(RETRY);
        let mut listening = Vec::new();
        for mut pending in std::mem::take(&mut self.pending) {
            match pending.try_again() {
                Ok(()) => {
                    log::info!("listening on {}", pending.address);
                    listening.push(pending.socket);
                }
                Err(e) => {
                    pending.complain(&e);
                    self.pending.push(pending);
                }
            }
        }
        listening
    }
}
