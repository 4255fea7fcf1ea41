//! The signals that the master handles.

use std::io;

use crate::sys::signal::{Inbox, SIGHUP, SIGINT, SIGTERM, SIGUSR1, Signal, Trap};

/// The signals that the master handles.
#[derive(Debug)]
pub(super) struct Signals {
    /// The requests of operators: SIGHUP, SIGINT, SIGTERM and SIGUSR1.
    pub(super) asked: Trap,
    /// SIGCHLD.
    pub(super) ends: Inbox,
}

impl Signals {
    /// Traps the signals. Must be called before the pid file is written, else a signal could end the master.
    ///
    /// # Errors
    /// When the signals cannot be trapped.
    pub(super) fn trapped() -> io::Result<Self> {
        Ok(Self {
            asked: Trap::set(&[SIGHUP, SIGINT, SIGTERM, SIGUSR1])?,
            ends: Inbox::taking(Signal::SIGCHLD)?,
        })
    }

    /// Returns whether a signal has requested a shutdown since the last call.
    pub(super) fn asked_to_end(&self) -> bool {
        // Read both flags: else a SIGINT and a SIGTERM together would later count as a second request.
        let int = self.asked.came(SIGINT);
        self.asked.came(SIGTERM) || int
    }
}
