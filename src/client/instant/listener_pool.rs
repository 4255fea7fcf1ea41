//! The pool of listeners: all are forked before the menu has threads, and one listens at a time.
//!
//! A process with threads cannot fork safely, and the menu has threads as soon as it is on. So it makes its
//! listeners before, and those that are not needed sleep. Each has the socket; if the one that listens is
//! killed, the next one goes on where it was, at the same port.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use super::listener::{COUNT, COUNTS, FOR, InstantListener, MAIL, TROUBLE};
use crate::name::Name;
use crate::sys::helper::Helper;
use crate::sys::process::{self, Pid};
use crate::sys::stdio;

/// One that listens, and those that take its place.
const LISTENERS: usize = 3;

/// The listeners that have not listened yet.
#[derive(Debug)]
pub(in crate::client) struct ListenerPool {
    waiting: Vec<(Pid, UnixStream)>,
    address: SocketAddr,
}

/// Something that a listener says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum ListenerEvent {
    /// There is something in the inbox.
    Mail,
    /// What was done so far, in words.
    Counts(String),
    /// What cannot be done, in words.
    Trouble(String),
}

impl ListenerPool {
    /// Forks the listeners. Nobody listens yet.
    ///
    /// # Errors
    /// When the calling process has threads, or there can be no children.
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

    /// Where they listen.
    pub(in crate::client) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Activates the next one, to listen for `name`; `None` when there is none left.
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

/// The life of a listener, in its own process.
fn live(socket: &UdpSocket, menu: &UnixStream) -> io::Result<()> {
    stdio::let_go()?;
    process::leave_group()?;
    InstantListener::new(socket.try_clone()?, menu.try_clone()?)?.run()
}

/// The listener that listens.
#[derive(Debug)]
pub(in crate::client) struct ListenerHandle {
    pid: Pid,
    menu: UnixStream,
}

impl ListenerHandle {
    /// Its process.
    pub(in crate::client) fn pid(&self) -> Pid {
        self.pid
    }

    /// Makes it listen for `name` from now on.
    ///
    /// # Errors
    /// When it is gone.
    pub(in crate::client) fn listen_for(&self, name: &Name) -> io::Result<()> {
        self.say(&format!("{FOR} {name}"))
    }

    /// Makes it tell what it has done; the answer is among its [`ListenerEvent`]s.
    ///
    /// # Errors
    /// When it is gone.
    pub(in crate::client) fn ask_counts(&self) -> io::Result<()> {
        self.say(COUNT)
    }

    /// Another handle to the same listener.
    ///
    /// # Errors
    /// Those of `dup(2)`.
    pub(in crate::client) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            pid: self.pid,
            menu: self.menu.try_clone()?,
        })
    }

    /// What it says, as it comes, until it is gone.
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
