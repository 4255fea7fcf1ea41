//! The reserve of the supervisor, as the messages between the processes describe it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::sys::clock::Deadline;
use crate::sys::passing;
use crate::sys::process::Pid;

/// The title of the supervisor in ps(1).
pub(super) const TITLE: &str = "droplined: supervisor";

/// A process that waits to become the supervisor.
#[derive(Debug)]
pub(super) struct Reserve {
    pub(super) pid: Pid,
    pub(super) link: OwnedFd,
}

impl Reserve {
    /// Reads a message of the supervisor; `None` if it is not about a reserve.
    pub(super) fn of(message: &[u8], link: Option<OwnedFd>) -> Option<Self> {
        let pid = Pid::of(u64::from_le_bytes(message.try_into().ok()?))?;
        let link = link?;
        Some(Self { pid, link })
    }

    /// Sends its PID and the way to it.
    pub(super) fn announce(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        let pid = self.pid.number().to_le_bytes();
        passing::send(to, &pid, Some(self.link.as_fd()), now())
    }

    /// Asks it to become the supervisor, and to start the helpers after `pause`.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn takes_over(self, pause: Duration) -> io::Result<Self> {
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        passing::send(self.link.as_fd(), &millis.to_le_bytes(), None, now())?;
        Ok(self)
    }
}

/// The deadline for a message that fits into the socket.
pub(super) fn now() -> Deadline {
    Deadline::after(Duration::ZERO)
}
