//! Waiting for descriptors to become ready, with ppoll(2).

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;

use super::clock::Deadline;

/// The event to wait for on a descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// Data, a connection, or end of stream.
    Read,
    /// Room to write.
    Write,
}

/// The descriptors passed to [`wait`] that are ready, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready(u64);

impl Ready {
    /// Returns whether the descriptor at `index` of the list is ready.
    pub(crate) fn has(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }
}

/// Waits until one of `fds` (at most 64) is ready, a signal arrives, or `limit` expires. Errors and hang-ups make a
/// descriptor ready, too.
///
/// # Errors
/// Those of `ppoll(2)`, except EINTR.
pub(crate) fn wait(fds: &[(BorrowedFd<'_>, Want)], limit: Option<Duration>) -> io::Result<Ready> {
    debug_assert!(fds.len() <= 64, "one bit a descriptor");
    let mut entries: Vec<PollFd<'_>> = fds
        .iter()
        .map(|&(fd, want)| {
            let flags = match want {
                Want::Read => PollFlags::POLLIN,
                Want::Write => PollFlags::POLLOUT,
            };
            PollFd::new(fd, flags)
        })
        .collect();
    match nix::poll::ppoll(&mut entries, limit.map(TimeSpec::from_duration), None) {
        Ok(0) | Err(Errno::EINTR) => Ok(Ready::default()),
        Ok(_) => Ok(Ready(
            entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| entry.revents().is_some_and(|r| !r.is_empty()))
                .fold(0, |ready, (index, _)| ready | 1 << index),
        )),
        Err(e) => Err(e.into()),
    }
}

/// Waits until `fd` has data or is at end of stream. Returns `false` if it is not by `deadline`. Signals do not end the
/// wait.
///
/// # Errors
/// Those of `ppoll(2)`, except EINTR.
pub(crate) fn readable_by(fd: BorrowedFd<'_>, deadline: Deadline) -> io::Result<bool> {
    loop {
        if wait(&[(fd, Want::Read)], Some(deadline.left()))?.has(0) {
            return Ok(true);
        }
        if deadline.passed() {
            return Ok(false);
        }
    }
}

/// Returns whether the peer has closed this socket or shut down its writing side. Reads no data.
pub(crate) fn is_over(socket: BorrowedFd<'_>) -> bool {
    let mut entry = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: the pointer is to one live entry.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    ready > 0
}
