//! The login helper, which runs getent(1) for sandboxed processes that may not start programs.
//!
//! A request (`uid 1000`, `name al`, `remote 1000 al bob`) carries one end of a socket pair, to which getent writes its output.
//! Requests are queued in a socket while no helper runs. Lookups of clients of the Unix socket have a socket and places of
//! their own: a flood of names that other clients state keeps no login out.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::MsgFlags;

use super::files::Key;
use super::getent::{self, Getent, Running};
use crate::sys::clock::Deadline;
use crate::sys::passing;
use crate::sys::poll::{self, Want};

/// How long to wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of getent processes that run concurrently for each purpose. Further requests wait in its socket.
const MAX_RUNNING: usize = 8;
/// The first byte of an answer that is an error message.
const FAILED: u8 = b'!';
/// The end of the output of a getent that has found or not found what it was asked for. Without it, the output may be
/// incomplete: the helper has ended, and its getents with it.
const DONE: &[u8] = b"=\n";

/// What a lookup is for. Lookups for one purpose do not wait for those for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To find the login of a client of the Unix socket.
    Client,
    /// To find out whether a name is a login.
    Name,
}

/// The number of purposes.
const PURPOSES: usize = 2;

/// The sockets of the helper, or those to send requests to; one for each purpose.
#[derive(Debug)]
struct Sockets([OwnedFd; PURPOSES]);

impl Sockets {
    fn descriptors(&self) -> Vec<RawFd> {
        self.0.iter().map(|socket| socket.as_raw_fd()).collect()
    }
}

/// The helper: the program that it runs, and the sockets that it receives requests from.
#[derive(Debug)]
pub(crate) struct LoginHelper {
    getent: Getent,
    sockets: Sockets,
}

impl LoginHelper {
    /// Creates a helper that runs `getent`, and the way to it (socketpair(2)).
    pub(super) fn pair(getent: Getent) -> io::Result<(Self, Requests)> {
        // The ends that all children keep have adjacent numbers: close_range(2) closes the others in fewer calls.
        let ((of_clients, clients), (names, of_names)) = (passing::pair()?, passing::pair()?);
        let requests = Requests {
            sockets: Sockets([clients, names]),
            asks_remote: !getent.remote.is_empty(),
        };
        let sockets = Sockets([of_clients, of_names]);
        Ok((Self { getent, sockets }, requests))
    }

    /// Returns the descriptors that the helper needs.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        self.sockets.descriptors()
    }

    /// Serves requests until no process can send any more.
    ///
    /// # Errors
    /// Those of `ppoll(2)` and `recvmsg(2)`; when a request carries more descriptors than this process may open.
    pub(crate) fn serve(&self) -> io::Result<()> {
        let sockets = self.sockets.0.iter();
        let mut all: Vec<_> = sockets
            .map(|socket| Places::new(&self.getent, socket))
            .collect();
        loop {
            all.iter_mut().for_each(Places::reap);
            if all.iter().all(|places| places.is_over) {
                return Ok(());
            }
            for at in wait(&all)? {
                all[at].take()?;
            }
        }
    }
}

/// The lookups for one purpose.
struct Places<'a> {
    getent: &'a Getent,
    socket: BorrowedFd<'a>,
    /// Whether no process can send requests any more.
    is_over: bool,
    /// Each with a copy of the descriptor that it writes to.
    running: Vec<(Running, OwnedFd)>,
}

/// Waits until a getent ends or a request can be taken. Returns the indexes of those that have a request.
fn wait(all: &[Places<'_>]) -> io::Result<Vec<usize>> {
    let takes = |(at, places): (usize, &Places<'_>)| places.takes_more().then_some(at);
    let waiting: Vec<usize> = all.iter().enumerate().filter_map(takes).collect();
    let sockets = waiting.iter().map(|at| all[*at].socket);
    let running = || all.iter().flat_map(|places| &places.running);
    let ends = running().filter_map(|(one, _)| one.end());
    let fds: Vec<_> = sockets.chain(ends).map(|fd| (fd, Want::Read)).collect();
    let limit = running().map(|(one, _)| one.left()).min();
    let ready = poll::wait(&fds, limit)?;
    let asked = waiting.into_iter().enumerate();
    Ok(asked
        .filter_map(|(n, at)| ready.has(n).then_some(at))
        .collect())
}

impl<'a> Places<'a> {
    fn new(getent: &'a Getent, socket: &'a OwnedFd) -> Self {
        Self {
            getent,
            socket: socket.as_fd(),
            is_over: false,
            running: Vec::with_capacity(MAX_RUNNING),
        }
    }

    fn takes_more(&self) -> bool {
        !self.is_over && self.running.len() < MAX_RUNNING
    }

    /// Removes the processes that have ended, and reports those that have failed.
    fn reap(&mut self) {
        let program = self.getent.program.display();
        self.running.retain_mut(|(one, to)| match one.ended() {
            Ok(None) => true,
            Ok(Some(status)) => {
                // getent exits with 2 when a key is not found. Any other failure must not look like that.
                if matches!(status.code(), Some(0 | 2)) {
                    tell(to, DONE);
                } else {
                    log::warn!("{program} failed: {status}");
                    report(to, &format!("{program} failed: {status}"));
                }
                false
            }
            Err(e) => {
                report(to, &format!("cannot wait for {program}: {e}"));
                false
            }
        });
    }

    /// Takes the next request, and starts its lookup.
    fn take(&mut self) -> io::Result<()> {
        let (request, to) = match passing::receive(self.socket) {
            Ok(Some(received)) => received,
            Ok(None) => {
                self.is_over = true;
                return Ok(());
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        // A client whose wait timed out has closed its end.
        let to = to.filter(|to| !poll::is_over(to.as_fd()));
        if let (Some(arguments), Some(to)) = (arguments(&request, &self.getent.remote), to) {
            self.running
                .extend(answer(&self.getent.program, &arguments, to));
        }
        Ok(())
    }
}

/// Starts a getent that writes to `to`. If that fails, writes the error to `to` and returns `None`.
fn answer(program: &Path, arguments: &[String], to: OwnedFd) -> Option<(Running, OwnedFd)> {
    let copy = to.try_clone().ok()?;
    match Running::start(program, arguments, to) {
        Ok(running) => Some((running, copy)),
        Err(e) => {
            report(&copy, &format!("cannot run {}: {e}", program.display()));
            None
        }
    }
}

/// Writes an error to the requester.
fn report(to: &OwnedFd, why: &str) {
    tell(to, format!("{}{why}\n", char::from(FAILED)).as_bytes());
}

/// Writes to the requester. This fails when `to` is not a socket or has no reader.
fn tell(to: &OwnedFd, text: &[u8]) {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let _ = nix::sys::socket::send(to.as_raw_fd(), text, flags);
}

/// Returns the arguments of getent for a request; `None` when the request is invalid. `remote` are the sources that can
/// be away.
fn arguments(request: &[u8], remote: &str) -> Option<Vec<String>> {
    let (verb, text) = std::str::from_utf8(request).ok()?.split_once(' ')?;
    let name = |name: &str| Key::Name(name).argument();
    let (sources, keys) = match verb {
        "uid" => (None, vec![Key::Uid(text.parse().ok()?).argument()?]),
        "name" => (None, vec![name(text)?]),
        "remote" if !remote.is_empty() => {
            let key = |text: &str| match text.parse() {
                Ok(uid) => Key::Uid(uid).argument(),
                Err(_) => name(text),
            };
            let keys = text.split(' ').map(key).collect::<Option<Vec<_>>>()?;
            (Some(format!("passwd:{remote}")), keys)
        }
        _ => return None,
    };
    let mut arguments = Vec::new();
    if let Some(sources) = sources {
        arguments.extend(["-s".into(), sources]);
    }
    arguments.extend(["passwd".into(), "--".into()]);
    arguments.extend(keys);
    Some(arguments)
}

/// The way to the helper.
#[derive(Debug)]
pub(super) struct Requests {
    sockets: Sockets,
    /// Whether the machine has sources of logins that can be away.
    asks_remote: bool,
}

impl Requests {
    /// Returns the descriptors that a process needs to send requests.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        self.sockets.descriptors()
    }

    /// Returns the socket for requests with this purpose.
    pub(super) fn socket(&self, purpose: Purpose) -> BorrowedFd<'_> {
        self.sockets.0[purpose as usize].as_fd()
    }

    /// Returns whether the machine has sources of logins that can be away.
    pub(super) fn asks_remote(&self) -> bool {
        self.asks_remote
    }

    /// Looks up a login. Returns the output of `getent passwd`, which is empty when there is no such login.
    ///
    /// # Errors
    /// When the helper has ended, does not answer in time, or cannot run getent; those of [`getent::answer`].
    pub(super) fn ask(&self, key: Key<'_>, purpose: Purpose) -> io::Result<Vec<u8>> {
        let request = match key {
            Key::Uid(uid) => format!("uid {uid}"),
            Key::Name(name) => format!("name {name}"),
        };
        self.exchange(&request, purpose)
    }

    /// Looks up these names and user IDs, which contain no spaces, in the sources that can be away only. Returns the
    /// entries that were found, in this order.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub(super) fn ask_remote(&self, keys: &[String], purpose: Purpose) -> io::Result<Vec<u8>> {
        self.exchange(&format!("remote {}", keys.join(" ")), purpose)
    }

    fn exchange(&self, request: &str, purpose: Purpose) -> io::Result<Vec<u8>> {
        let deadline = Deadline::after(ANSWER_TIMEOUT);
        let (ours, theirs) = UnixStream::pair()?;
        passing::send(
            self.socket(purpose),
            request.as_bytes(),
            Some(theirs.as_fd()),
            deadline,
        )
        .map_err(|e| match e.kind() {
            io::ErrorKind::TimedOut => getent::late(),
            io::ErrorKind::BrokenPipe => io::Error::other("the helper for logins has ended"),
            _ => e,
        })?;
        drop(theirs);
        let answer = getent::answer(&ours, deadline)?;
        if let Some(why) = answer.strip_prefix(&[FAILED]) {
            return Err(io::Error::other(String::from_utf8_lossy(why).trim_end()));
        }
        match answer.strip_suffix(DONE) {
            Some(output) if output.is_empty() || output.ends_with(b"\n") => Ok(output.to_vec()),
            _ => {
                let what = "the answer of getent is incomplete";
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, what))
            }
        }
    }
}
