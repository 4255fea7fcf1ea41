//! The pool of listener processes. All are forked before the menu starts threads; one is active at a time.
//!
//! A process with threads cannot fork safely, so spare listeners are forked early and sleep. All share the socket: if
//! the active listener is killed, the next one continues on the same port.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use super::listener::{COUNT, COUNTS, FOR, InstantListener, MAIL, SECRET, TROUBLE};
use super::secrets::HeldSecret;
use crate::name::Name;
use crate::sys::helper::Helper;
use crate::sys::process::{self, Pid};
use crate::sys::stdio;

/// One active listener, and spares to replace it.
const LISTENERS: usize = 3;

/// The listeners that were not activated yet.
#[derive(Debug)]
pub(in crate::client) struct ListenerPool {
    waiting: Vec<(Pid, UnixStream)>,
    address: SocketAddr,
}

/// An event reported by a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum ListenerEvent {
    /// Messages wait in the inbox.
    Mail,
    /// The counts of datagrams, as text.
    Counts(String),
    /// An error, as text.
    Trouble(String),
}

impl ListenerPool {
    /// Forks the listeners. None is active yet.
    ///
    /// # Errors
    /// The calling process has threads, or a fork fails.
    pub(in crate::client) fn fork(socket: &UdpSocket) -> io::Result<Self> {
        if process::threads()? > 1 {
            return Err(io::Error::other("the menu has threads already"));
        }
        let address = socket.local_addr()?;
        let mut waiting = Vec::with_capacity(LISTENERS);
        for _ in 0..LISTENERS {
            let (ours, theirs) = UnixStream::pair()?;
            let keep = [socket.as_raw_fd(), theirs.as_raw_fd()];
            let pid = Helper::new()
                .keeping(keep)
                .fork(|| live(socket, &theirs).is_ok())?;
            waiting.push((pid, ours));
        }
        Ok(Self { waiting, address })
    }

    /// Returns the address of the socket.
    pub(in crate::client) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Activates the next listener, for `name`. Returns `None` if none is left.
    pub(in crate::client) fn activate(&mut self, name: &Name) -> Option<ListenerHandle> {
        while let Some((pid, menu)) = self.waiting.pop() {
            let handle = ListenerHandle { pid, menu };
            if handle.listen_for(name).is_ok() {
                return Some(handle);
            }
        }
        None
    }
}

/// Runs a listener, in its own process.
fn live(socket: &UdpSocket, menu: &UnixStream) -> io::Result<()> {
    stdio::let_go()?;
    process::leave_group()?;
    InstantListener::new(socket.try_clone()?, menu.try_clone()?)?.run()
}

/// The menu's handle to a listener.
#[derive(Debug)]
pub(in crate::client) struct ListenerHandle {
    pid: Pid,
    menu: UnixStream,
}

impl ListenerHandle {
    /// Returns its process id.
    pub(in crate::client) fn pid(&self) -> Pid {
        self.pid
    }

    /// Makes it receive messages for `name`.
    ///
    /// # Errors
    /// The listener has ended.
    pub(in crate::client) fn listen_for(&self, name: &Name) -> io::Result<()> {
        self.say(&format!("{FOR} {name}"))
    }

    /// Makes it open messages that are sealed with tickets of this secret, for the current name.
    ///
    /// # Errors
    /// The listener has ended.
    pub(in crate::client) fn hold(&self, held: &HeldSecret) -> io::Result<()> {
        self.say(&format!("{SECRET} {held}"))
    }

    /// Requests its counts, which arrive as [`ListenerEvent::Counts`].
    ///
    /// # Errors
    /// The listener has ended.
    pub(in crate::client) fn ask_counts(&self) -> io::Result<()> {
        self.say(COUNT)
    }

    /// Returns another handle to the same listener.
    ///
    /// # Errors
    /// Those of `dup(2)`.
    pub(in crate::client) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            pid: self.pid,
            menu: self.menu.try_clone()?,
        })
    }

    /// Returns its events as they arrive, until it ends.
    ///
    /// # Errors
    /// Those of `dup(2)`.
    pub(in crate::client) fn events(
        &self,
    ) -> io::Result<impl Iterator<Item = ListenerEvent> + use<>> {
        let lines = BufReader::new(self.menu.try_clone()?).lines();
        Ok(lines.map_while(Result::ok).filter_map(|line| {
            let (word, text) = line.split_once(' ')?;
            match word {
                MAIL => Some(ListenerEvent::Mail),
                COUNTS => Some(ListenerEvent::Counts(text.to_owned())),
                TROUBLE => Some(ListenerEvent::Trouble(text.to_owned())),
                _ => None,
            }
        }))
    }

    fn say(&self, line: &str) -> io::Result<()> {
        (&self.menu).write_all(format!("{line}\n").as_bytes())
    }
}
