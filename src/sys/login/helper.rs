//! The helper for logins: a process that runs getent(1) for processes that may start no programs.
//!
//! The sandbox of a daemon lets it start no programs, so that it asks a process outside of it. A request (`uid 1000`,
//! `name al`) comes with one end of a pair of sockets, to which getent writes its answer. Requests wait in the socket
//! while no helper runs.

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

/// How long a request waits for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of getent processes that run at once. Further requests wait in the socket.
const MAX_RUNNING: usize = 8;
/// The longest request, in bytes.
const MAX_REQUEST: usize = 512;
/// The most descriptors that can come with one request (SCM_MAX_FD): there is room for all, so that none is left open.
const MAX_DESCRIPTORS: usize = 253;
/// The first byte of an answer that says why there is none.
const FAILED: u8 = b'!';

/// What a process needs to answer requests.
#[derive(Debug)]
pub(crate) struct LoginHelper {
    program: PathBuf,
    socket: OwnedFd,
}

impl LoginHelper {
    /// Makes the helper's side, which runs `program`, and the socket that requests are sent to.
    ///
    /// # Errors
    /// Those of `socketpair(2)`.
    pub(super) fn pair(program: PathBuf) -> io::Result<(Self, OwnedFd)> {
        let (requests, socket) = nix::sys::socket::socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Self { program, socket }, requests))
    }

    /// The descriptor that it needs.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Answers requests until no process can send one any more.
    ///
    /// # Errors
    /// Those of `ppoll(2)` and `recvmsg(2)`; when a request has more descriptors than this process may open.
    pub(crate) fn serve(&self) -> io::Result<()> {
        answer_all(self.socket.as_fd(), &self.program)
    }
}

fn answer_all(socket: BorrowedFd<'_>, program: &Path) -> io::Result<()> {
    let mut running: Vec<Running> = Vec::with_capacity(MAX_RUNNING);
    loop {
        running.retain_mut(|one| match one.ended() {
            Ok(None) => true,
            Ok(Some(status)) => {
                // 2 is that there is none.
                if !matches!(status.code(), Some(0 | 2)) {
                    log::warn!("{} did not answer: {status}", program.display());
                }
                false
            }
            Err(_) => false,
        });
        let mut fds: Vec<_> = running.iter().filter_map(Running::end).collect();
        let at = fds.len();
        if running.len() < MAX_RUNNING {
            fds.push(socket);
        }
        let fds: Vec<_> = fds.into_iter().map(|fd| (fd, Want::Read)).collect();
        let limit = running.iter().map(Running::left).min();
        if !poll::wait(&fds, limit)?.has(at) {
            continue;
        }
        let (request, to) = match receive(socket) {
            Ok(Some(received)) => received,
            Ok(None) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e),
        };
        // A client that has waited for too long has closed its end.
        let to = to.filter(|to| !poll::is_over(to.as_fd()));
        if let (Some(argument), Some(to)) = (argument(&request), to) {
            running.extend(answer(program, &argument, to));
        }
    }
}

/// Starts a getent that answers to `to`; `None` when it cannot be started, which `to` is told.
fn answer(program: &Path, argument: &str, to: OwnedFd) -> Option<Running> {
    let to_say = to.try_clone();
    match Running::start(program, "passwd", argument, to) {
        Ok(running) => Some(running),
        Err(e) => {
            let why = format!(
                "{}cannot run {}: {e}\n",
                char::from(FAILED),
                program.display()
            );
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            // `to` may be no socket, or have no reader.
            let _ = to_say.map(|to| nix::sys::socket::send(to.as_raw_fd(), why.as_bytes(), flags));
            None
        }
    }
}

/// The argument that a request has getent look up; `None` for one that is not valid.
fn argument(request: &[u8]) -> Option<String> {
    let key = match std::str::from_utf8(request).ok()?.split_once(' ')? {
        ("uid", number) => Key::Uid(number.parse().ok()?),
        ("name", name) => Key::Name(name),
        _ => return None,
    };
    key.argument()
}

/// The next request, and its descriptor if it came with exactly one; `None` when no process can send any more.
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
            // SAFETY: the kernel has just given us these descriptors, and nobody else knows of them.
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

/// Asks the helper behind `socket`: the answer of `getent passwd`, which is empty when there is no such login.
///
/// # Errors
/// When there is no helper any more, it does not answer in time, or getent cannot be run.
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
