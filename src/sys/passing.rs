//! Sockets that pass messages and descriptors between processes of this program (unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
};

use super::clock::Deadline;
use super::poll::{self, Want};

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 1_024;
/// The most descriptors that a message can carry (SCM_MAX_FD). All of them are received, so that all can be closed.
const MAX_DESCRIPTORS: usize = 253;

/// Returns two connected sockets.
///
/// # Errors
/// Those of `socketpair(2)`.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SockType::SeqPacket;
    Ok(nix::sys::socket::socketpair(
        AddressFamily::Unix,
        kind,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

/// Sends a message with at most one descriptor.
///
/// # Errors
/// `BrokenPipe` when no process can receive it; `TimedOut` when none has received it until `deadline`; others of
/// `sendmsg(2)`.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
    deadline: Deadline,
) -> io::Result<()> {
    let descriptors: Vec<RawFd> = descriptor.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let rights = if descriptors.is_empty() {
        &[][..]
    } else {
        &rights
    };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        let message = [IoSlice::new(message)];
        let sent =
            nix::sys::socket::sendmsg::<()>(socket.as_raw_fd(), &message, rights, flags, None);
        match sent {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if !deadline.passed() => {
                poll::wait(&[(socket, Want::Write)], Some(deadline.left()))?;
            }
            Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Receives the next message, with its descriptor if it carries exactly one; `None` when no process can send. A message
/// that is too long arrives empty.
///
/// # Errors
/// `WouldBlock` when there is none; others of `recvmsg(2)`.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut control = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(&mut bytes)];
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
    bytes.truncate(if cut { 0 } else { len });
    let one = came.pop().filter(|_| came.is_empty());
    Ok(Some((bytes, one)))
}

/// Lets the other side receive the end after the messages sent so far.
///
/// # Errors
/// Those of `shutdown(2)`.
pub(crate) fn end_sending(socket: BorrowedFd<'_>) -> io::Result<()> {
    let side = nix::sys::socket::Shutdown::Write;
    Ok(nix::sys::socket::shutdown(socket.as_raw_fd(), side)?)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    use super::*;

    #[test]
    fn messages_arrive_one_by_one_until_the_sender_is_gone() {
        let soon = Deadline::after(Duration::from_secs(60));
        let (one, other) = pair().expect("a pair");
        let empty = receive(other.as_fd()).expect_err("nothing was sent");
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        send(one.as_fd(), b"first", None, soon).expect("sent");
        send(one.as_fd(), b"second", Some(one.as_fd()), soon).expect("sent");
        send(one.as_fd(), &[b'x'; MAX_MESSAGE + 1], None, soon).expect("sent");
        drop(one);
        let received = || receive(other.as_fd()).expect("received");
        assert!(matches!(received(), Some((bytes, None)) if bytes == b"first"));
        assert!(matches!(received(), Some((bytes, Some(_))) if bytes == b"second"));
        assert!(matches!(received(), Some((bytes, None)) if bytes.is_empty()));
        assert!(received().is_none());
        let gone = send(other.as_fd(), b"x", None, soon).expect_err("no receiver");
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_socket_delays_until_the_deadline_only() {
        let (one, _other) = pair().expect("a pair");
        let now = Deadline::after(Duration::ZERO);
        let full = (0..100_000).find_map(|_| send(one.as_fd(), b"x", None, now).err());
        assert_eq!(full.expect("full").kind(), io::ErrorKind::TimedOut);
    }
}
