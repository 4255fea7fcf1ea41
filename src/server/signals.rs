//! The signals that a master acts upon.

use std::io;

use crate::sys::signal::{Inbox, SIGHUP, SIGINT, SIGTERM, SIGUSR1, Signal, Trap};

/// The signals that a master acts upon.
#[derive(Debug)]
pub(super) struct Signals {
    /// What it is asked to do.
    pub(super) asked: Trap,
    /// That children have ended.
    pub(super) ends: Inbox,
}

impl Signals {
    /// They are trapped from now on: to be called before other processes can know of the master, so that none of them
    /// ends it.
    ///
    /// # Errors
    /// When they cannot be trapped.
    pub(super) fn trapped() -> io::Result<Self> {
        Ok(Self {
            asked: Trap::set(&[SIGHUP, SIGINT, SIGTERM, SIGUSR1])?,
            ends: Inbox::taking(Signal::SIGCHLD)?,
        })
    }

    /// Whether the daemon was asked to end since the last time this was asked.
    pub(super) fn asked_to_end(&self) -> bool {
        // Both are asked, so that one of each does not count as a second one later.
        let int = self.asked.came(SIGINT);
        self.asked.came(SIGTERM) || int
    }
}
