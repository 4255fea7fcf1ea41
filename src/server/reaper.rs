//! The table of running children with the clients that they serve, and the collection of those that have ended.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::child::{GARBAGE, TIMED_OUT};
use super::scoreboard::{Counter, Scoreboard, is_served};
use super::sources::{Offence, Penalties, Source, is_exempt};
use super::supervisor::Supervisor;
use crate::sys::clock::Deadline;
use crate::sys::peer::Peer;
use crate::sys::process::{self, End, Pid};

/// A running child.
#[derive(Clone, Copy, Debug)]
struct Child {
    peer: Peer,
    slot: usize,
    begun: Instant,
    /// It was killed to make room.
    evicted: bool,
}

/// The children of the master, by pid.
#[derive(Debug)]
pub(super) struct Children {
    running: HashMap<Pid, Child>,
    sources: HashMap<Source, usize>,
    /// Slots of the scoreboard that ended children have released.
    free: Vec<usize>,
    /// The first slot that was never used.
    fresh: usize,
    board: Scoreboard,
    /// The supervisor of the helper processes, which is a child as well.
    supervisor: Option<Supervisor>,
}

impl Children {
    /// Returns an empty table with room for `most` children.
    pub(super) fn new(board: Scoreboard, most: usize, supervisor: Option<Supervisor>) -> Self {
        Self {
            running: HashMap::with_capacity(most),
            sources: HashMap::with_capacity(most),
            free: Vec::with_capacity(most),
            fresh: 0,
            board,
            supervisor,
        }
    }

    pub(super) fn next_slot(&self) -> usize {
        self.free.last().copied().unwrap_or(self.fresh)
    }

    /// Adds a new child that serves `peer` and has the next slot.
    pub(super) fn add(&mut self, pid: Pid, peer: Peer) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.fresh += 1;
            self.fresh - 1
        });
        *self.sources.entry(Source::of(peer)).or_default() += 1;
        self.running.insert(
            pid,
            Child {
                peer,
                slot,
                begun: Instant::now(),
                evicted: false,
            },
        );
    }

    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// Returns how many of them serve this source.
    pub(super) fn of(&self, source: Source) -> usize {
        self.sources.get(&source).copied().unwrap_or(0)
    }

    /// Returns how many of them serve a client that has not completed a request.
    pub(super) fn unserved(&self) -> usize {
        let unserved = |child: &&Child| !is_served(self.board.slot(child.slot));
        self.running.values().filter(unserved).count()
    }

    /// Kills the children that have waited for `limit` for a client to complete a request, and returns their number.
    /// Honest clients need milliseconds.
    pub(super) fn evict(&mut self, limit: Duration) -> usize {
        let mut count = 0;
        for (pid, child) in &mut self.running {
            let waits = !child.evicted && !is_served(self.board.slot(child.slot));
            if waits && child.begun.elapsed() >= limit {
                child.evicted = true;
                process::kill(*pid);
                count += 1;
            }
        }
        count
    }

    /// Reaps all children that have ended, logs abnormal ends, and penalizes the sources that caused them. Ignores a
    /// process that was forked before this program was executed.
    pub(super) fn reap(&mut self, penalties: &mut Penalties, exempt: &[ipnet::IpNet]) {
        while let Some((pid, end)) = process::reap() {
            let Some(child) = self.running.remove(&pid) else {
                self.supervisor
                    .take_if(|supervisor| supervisor.has_ended(pid, end));
                continue;
            };
            let slot = self.board.slot(child.slot);
            slot.clear();
            self.free.push(child.slot);
            let source = Source::of(child.peer);
            if let Some(count) = self.sources.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    self.sources.remove(&source);
                }
            }
            let Some((offence, counter)) = self.offence(pid, child, end) else {
                continue;
            };
            self.board.count(counter, 1);
            if let Some(supervisor) = &self.supervisor {
                supervisor.forget(child.slot);
            }
            if !is_exempt(child.peer, exempt) {
                let span = penalties.add(source, offence, Instant::now());
                log::debug!("{}: refused for {} s", child.peer, span.as_secs());
            }
        }
    }

    fn offence(&self, pid: Pid, child: Child, end: End) -> Option<(Offence, Counter)> {
        match end {
            End::Status(0) => None,
            End::Signal(_) if child.evicted => Some((Offence::Timeout, Counter::Timeouts)),
            End::Status(GARBAGE) => Some((Offence::Garbage, Counter::Garbage)),
            End::Status(TIMED_OUT) => Some((Offence::Timeout, Counter::Timeouts)),
            end => {
                log::error!("the child {pid} that served {} {end}", child.peer);
                Some((Offence::Crash, Counter::Crashes))
            }
        }
    }

    pub(super) fn ask_to_end(&self) {
        self.running.keys().copied().for_each(process::ask_to_end);
    }

    /// Kills all children, then ends the helpers. Unless `at_once`, the journal writer may finish until `deadline`.
    pub(super) fn kill(&mut self, deadline: Deadline, at_once: bool) {
        for &pid in self.running.keys() {
            process::kill(pid);
        }
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.end(deadline, at_once);
        }
    }
}
