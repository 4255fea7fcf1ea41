//! The keeper of logins: a process that asks getent(1) for others that may start no programs.
//!
//! The master forks it before it lays the sandbox. Whoever asks sends a request (`uid 1000`, `name al`) and one end of
//! a pair of sockets, to which getent writes its answer.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
};

use super::files::Key;
use super::getent::{self, Running};
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Want};
use crate::sys::process::{self, Pid, Side};
use crate::sys::signal::Blocked;
use crate::sys::{sandbox, title};

/// How long whoever asks waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the master waits until the keeper has let go of what is the master's.
const START: Duration = Duration::from_secs(30);
/// How many answers are looked for at once. Who comes then waits until there is one.
const MOST: usize = 8;
/// The longest request.
const LONGEST: usize = 512;
/// As many descriptors as can come with one: for all of them there is room, so that none is left open (SCM_MAX_FD).
const MOST_DESCRIPTORS: usize = 253;
/// What an answer begins with that is none, but says why there is none.
const FAILED: u8 = b'!';

/// A keeper that was started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: Pid,
    /// Where it is asked.
    pub(super) socket: OwnedFd,
}

/// Forks a keeper, which runs for as long as this process and keeps nothing of it open but `log`. Must be called while
/// there is only one thread.
///
/// # Errors
/// Those of `socketpair(2)` and `fork(2)`; when it does not get ready.
pub(super) fn start(program: &Path, name: &str, log: RawFd) -> io::Result<Started> {
    let (ours, its) = nix::sys::socket::socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    let master = Pid::own();
    // What is typed at the terminal is for the master.
    let blocked = Blocked::all()?;
    match process::fork()? {
        Side::Child => {
            blocked.for_good();
            let kept = panic::catch_unwind(AssertUnwindSafe(|| {
                begin(&its, name, log, master)?;
                keep(its.as_fd(), program)
            }));
            if let Ok(Err(e)) = &kept {
                log::error!("the keeper of logins cannot go on: {e}");
            }
            process::exit_now(i32::from(!matches!(kept, Ok(Ok(())))))
        }
        Side::Parent(pid) => {
            drop((its, blocked));
            // It says one byte; its end is an end of the stream.
            let ready = poll::readable_by(ours.as_fd(), Deadline::after(START)).unwrap_or(false);
            let flags = MsgFlags::MSG_DONTWAIT;
            if !ready || nix::sys::socket::recv(ours.as_raw_fd(), &mut [0], flags) != Ok(1) {
                process::kill(pid);
                process::wait(pid);
                return Err(io::Error::other("it has not got ready"));
            }
            Ok(Started { pid, socket: ours })
        }
    }
}

/// What the keeper does first: it lets go of all that is the master's, and says so.
fn begin(socket: &OwnedFd, name: &str, log: RawFd, master: Pid) -> io::Result<()> {
    if !process::end_with(master) {
        return Err(io::ErrorKind::NotFound.into());
    }
    process::close_all_but(&mut [socket.as_raw_fd(), log]);
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&nowhere)?;
    nix::unistd::dup2_stdout(&nowhere)?;
    sandbox::no_new_privileges()?;
    title::set(&[name]);
    nix::sys::socket::send(socket.as_raw_fd(), b".", MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

/// Does what it is asked, until nobody can ask any more.
///
/// # Errors
/// Those of `ppoll(2)` and `recvmsg(2)`; when more descriptors come than it may have.
pub(super) fn keep(socket: BorrowedFd<'_>, program: &Path) -> io::Result<()> {
    let mut running: Vec<Running> = Vec::with_capacity(MOST);
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
        if running.len() < MOST {
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
        // Whoever waited for too long has gone.
        let to = to.filter(|to| !poll::is_over(to.as_fd()));
        if let (Some(argument), Some(to)) = (argument(&request), to) {
            running.extend(answer(program, &argument, to));
        }
    }
}

/// Starts one that answers; `None`, and said why, when that cannot be.
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
            // It may be anything, or nobody may read it: that is no matter of ours.
            let _ = to_say.map(|to| nix::sys::socket::send(to.as_raw_fd(), why.as_bytes(), flags));
            None
        }
    }
}

/// What a request asks getent for; `None` for one that is none.
fn argument(request: &[u8]) -> Option<String> {
    let key = match std::str::from_utf8(request).ok()?.split_once(' ')? {
        ("uid", number) => Key::Uid(number.parse().ok()?),
        ("name", name) => Key::Name(name),
        _ => return None,
    };
    key.argument()
}

/// A request, and the descriptor that came with it, if that was one; `None` when there will be no more.
fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut request = vec![0; LONGEST];
    let mut control = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
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

/// What the keeper behind `socket` finds out: an answer of `getent passwd`, or nothing.
///
/// # Errors
/// When there is no keeper any more, or it does not answer in time, or says why it does not.
pub(super) fn ask(socket: BorrowedFd<'_>, key: Key<'_>) -> io::Result<Vec<u8>> {
    let deadline = Deadline::after(PATIENCE);
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
                return Err(io::Error::other("the keeper of logins has ended"));
            }
            Err(e) => return Err(e.into()),
        }
    }
}
