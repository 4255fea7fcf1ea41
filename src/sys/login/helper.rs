//! The login helper, which runs getent(1) for sandboxed processes that may not start programs.
//!
//! A request (`uid 1000`, `name al`) carries one end of a socket pair, to which getent writes its output. Requests are
//! queued in the socket while no helper runs.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
};

use super::files::Key;
use super::getent::{self, Running};
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Want};

/// How long to wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of getent processes that run concurrently. Further requests wait in the socket.
const MAX_RUNNING: usize = 8;
/// The longest request, in bytes.
const MAX_REQUEST: usize = 512;
/// The most descriptors that a request can carry (SCM_MAX_FD). All of them are received, so that all can be closed.
const MAX_DESCRIPTORS: usize = 253;
/// The first byte of an answer that is an error message.
const FAILED: u8 = b'!';

/// The helper: the program that it runs, and the socket that it receives requests from.
#[derive(Debug)]
pub(crate) struct LoginHelper {
    program: PathBuf,
    socket: OwnedFd,
}

impl LoginHelper {
    /// Creates a helper that runs `program`, and the socket to send requests to (socketpair(2)).
    pub(super) fn pair(program: PathBuf) -> io::Result<(Self, OwnedFd)> {
        let (requests, socket) = nix::sys::socket::socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Self { program, socket }, requests))
    }

    /// Returns the descriptor that the helper needs.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Serves requests until no process can send any more.
    ///
    /// # Errors
    /// Those of `ppoll(2)` and `recvmsg(2)`; when a request carries more descriptors than this process may open.
    pub(crate) fn serve(&self) -> io::Result<()> {
        answer_all(self.socket.as_fd(), &self.program)
    }
}

fn answer_all(socket: BorrowedFd<'_>, program: &Path) -> io::Result<()> {
    // Each with a copy of the descriptor that it writes to.
    let mut running: Vec<(Running, OwnedFd)> = Vec::with_capacity(MAX_RUNNING);
    loop {
        running.retain_mut(|(one, to)| match one.ended() {
            Ok(None) => true,
            Ok(Some(status)) => {
                // getent exits with 2 when the key is not found. Any other failure must not look like that.
                if !matches!(status.code(), Some(0 | 2)) {
                    log::warn!("{} failed: {status}", program.display());
                    report(to, &format!("{} failed: {status}", program.display()));
                }
                false
            }
            Err(e) => {
                report(to, &format!("cannot wait for {}: {e}", program.display()));
                false
            }
        });
        let mut fds: Vec<_> = running.iter().filter_map(|(one, _)| one.end()).collect();
        let at = fds.len();
        if running.len() < MAX_RUNNING {
            fds.push(socket);
        }
        let fds: Vec<_> = fds.into_iter().map(|fd| (fd, Want::Read)).collect();
        let limit = running.iter().map(|(one, _)| one.left()).min();
        if !poll::wait(&fds, limit)?.has(at) {
            continue;
        }
        let (request, to) = match receive(socket) {
            Ok(Some(received)) => received,
            Ok(None) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e),
        };
        // A client whose wait timed out has closed its end.
        let to = to.filter(|to| !poll::is_over(to.as_fd()));
        if let (Some(argument), Some(to)) = (argument(&request), to) {
            running.extend(answer(program, &argument, to));
        }
    }
}

/// Starts a getent that writes to `to`. If that fails, writes the error to `to` and returns `None`.
fn answer(program: &Path, argument: &str, to: OwnedFd) -> Option<(Running, OwnedFd)> {
    let copy = to.try_clone().ok()?;
    match Running::start(program, "passwd", argument, to) {
        Ok(running) => Some((running, copy)),
        Err(e) => {
            report(&copy, &format!("cannot run {}: {e}", program.display()));
            None
        }
    }
}

/// Writes an error to the requester. This fails when `to` is not a socket or has no reader.
fn report(to: &OwnedFd, why: &str) {
    let why = format!("{}{why}\n", char::from(FAILED));
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let _ = nix::sys::socket::send(to.as_raw_fd(), why.as_bytes(), flags);
}

/// Returns the getent argument of a request; `None` when the request is invalid.
fn argument(request: &[u8]) -> Option<String> {
    let key = match std::str::from_utf8(request).ok()?.split_once(' ')? {
        ("uid", number) => Key::Uid(number.parse().ok()?),
        ("name", name) => Key::Name(name),
        _ => return None,
    };
    key.argument()
}

/// Receives the next request, with its descriptor if it carries exactly one; `None` when no process can send.
fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut request = vec![0; MAX_REQUEST];
    let mut control = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(&mut request)];
    let message =
        nix::sys::socket::recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let (len, cut) = (message.bytes, message.flags.contains(MsgFlags::MSG_TRUNC));
    let mut came: Vec<OwnedFd> = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            // SAFETY: recvmsg(2) has just created these descriptors. They have no other owner.
            came.extend(
                fds.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    if len == 0 && came.is_empty() && poll::is_over(socket) {
        return Ok(None);
    }
    request.truncate(if cut { 0 } else { len });
    let one = came.pop().filter(|_| came.is_empty());
    Ok(Some((request, one)))
}

/// Sends a lookup to the helper behind `socket`. Returns the output of `getent passwd`, which is empty when there is no
/// such login.
///
/// # Errors
/// When the helper has ended, does not answer in time, or cannot run getent; those of [`getent::answer`].
pub(super) fn ask(socket: BorrowedFd<'_>, key: Key<'_>) -> io::Result<Vec<u8>> {
    let deadline = Deadline::after(ANSWER_TIMEOUT);
    let request = match key {
        Key::Uid(uid) => format!("uid {uid}"),
        Key::Name(name) => format!("name {name}"),
    };
    let (ours, theirs) = UnixStream::pair()?;
    send(socket, request.as_bytes(), theirs.as_fd(), deadline)?;
    drop(theirs);
    let answer = getent::answer(&ours, deadline)?;
    match answer.strip_prefix(&[FAILED]) {
        Some(why) => Err(io::Error::other(String::from_utf8_lossy(why).trim_end())),
        None => Ok(answer),
    }
}

fn send(
    socket: BorrowedFd<'_>,
    request: &[u8],
    to: BorrowedFd<'_>,
    deadline: Deadline,
) -> io::Result<()> {
    let to = [to.as_raw_fd()];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        let sent = nix::sys::socket::sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(request)],
            &[ControlMessage::ScmRights(&to)],
            flags,
            None,
        );
        match sent {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if !deadline.passed() => {
                poll::wait(&[(socket, Want::Write)], Some(deadline.left()))?;
            }
            Err(Errno::EAGAIN) => return Err(getent::late()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => {
                return Err(io::Error::other("the helper for logins has ended"));
            }
            Err(e) => return Err(e.into()),
        }
    }
}
