//! The children that run, and what became of those that do not.

use std::collections::HashMap;

use crate::sys::process::{self, End, Pid};
use crate::sys::socket::Peer;

/// The children of the master, by number.
#[derive(Debug, Default)]
pub(super) struct Children {
    running: HashMap<Pid, Peer>,
}

impl Children {
    /// Notes a new child and whom it serves.
    pub(super) fn add(&mut self, pid: Pid, peer: Peer) {
        self.running.insert(pid, peer);
    }

    /// How many run.
    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// Takes in all that have ended, and logs those that did not end well. A process that is not ours
    /// (one that whoever started us had forked before) is passed over.
    pub(super) fn reap(&mut self) {
        while let Some((pid, end)) = process::reap() {
            let Some(peer) = self.running.remove(&pid) else {
                continue;
            };
            match end {
                End::Status(0) => {}
                end => log::error!("the child {pid} that served {peer} {end}"),
            }
        }
    }

    /// Asks all to finish.
    pub(super) fn ask_to_end(&self) {
        self.running.keys().copied().for_each(process::ask_to_end);
    }

    /// Ends all at once.
    pub(super) fn kill(&self) {
        self.running.keys().copied().for_each(process::kill);
    }
}
