//! The table of running children with the clients that they serve.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::config::Config;
use super::connection::YIELD;
use super::phase::{Phase, State};
use super::scoreboard::{SLOTS, Scoreboard};
use super::sources::{Newcomer, Source};
use super::supervisor::Supervisor;
use crate::sys::clock::{Deadline, monotonic_millis};
use crate::sys::process::{self, Pid};

/// The most children that may have been replaced and not have ended yet.
const MOST_REPLACED: usize = 64;
/// The unit of time for `evictions_per_second`, in milliseconds.
const SECOND: u64 = 1_000;

/// A running child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub(super) client: Newcomer,
    pub(super) slot: usize,
    is_stranger: bool,
    /// When it was forked, in milliseconds of the monotonic clock.
    begun: u64,
    /// Set when it was asked to yield its place.
    pub(super) told: Option<Told>,
}

/// That a child was asked to yield its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) at: u64,
    /// Its client had begun a request, and not completed it.
    pub(super) half_said: bool,
    /// Another child has its place already: it counts no more.
    is_replaced: bool,
}

/// The children of one source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) tcp: usize,
    pub(super) socket: usize,
    /// The second of the last evictions, and their number in it.
    evictions: (u64, u64),
}

impl Share {
    pub(super) fn all(&self) -> usize {
        self.tcp + self.socket
    }

    fn count(&mut self, child: &Child) -> &mut usize {
        match child.client.is_tcp() {
            true => &mut self.tcp,
            false => &mut self.socket,
        }
    }

    /// Counts an eviction, unless there were `most` in this second.
    fn may_evict(&mut self, now: u64, most: u64) -> bool {
        if now.saturating_sub(self.evictions.0) >= SECOND {
            self.evictions = (now, 0);
        }
        let may = self.evictions.1 < most;
        self.evictions.1 += u64::from(may);
        may
    }
}

/// The children that serve clients who have not completed a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    pub(super) unserved: usize,
    /// Those of one source.
    pub(super) own: usize,
    /// How many sources have some, not counting that one.
    pub(super) others: usize,
}

impl Crowd {
    /// Returns whether the source, with one connection more, has fewer of them than the mean of all sources.
    pub(super) fn is_below_mean(self) -> bool {
        (self.own + 1) * (self.others + 1) < self.unserved + 1
    }
}

/// The children of the master, by pid.
#[derive(Debug)]
pub(super) struct Children {
    pub(super) running: HashMap<Pid, Child>,
    pub(super) sources: HashMap<Source, Share>,
    strangers: usize,
    /// How many were asked to yield and have not ended yet, and how many of these have been replaced.
    pub(super) told: usize,
    replaced: usize,
    /// Whether one of them may have to yield.
    pub(super) is_tight: bool,
    /// Slots of the scoreboard that ended children have released.
    free: Vec<usize>,
    /// The first slot that was never used.
    fresh: usize,
    pub(super) board: Scoreboard,
    /// The supervisor of the helper processes, which is a child as well.
    pub(super) supervisor: Option<Supervisor>,
}

impl Children {
    /// Returns an empty table with room for `most` children.
    pub(super) fn new(board: Scoreboard, most: usize, supervisor: Option<Supervisor>) -> Self {
        Self {
            running: HashMap::with_capacity(most),
            sources: HashMap::with_capacity(most),
            strangers: 0,
            told: 0,
            replaced: 0,
            is_tight: false,
            free: Vec::with_capacity(most),
            fresh: 0,
            board,
            supervisor,
        }
    }

    pub(super) fn next_slot(&self) -> usize {
        self.free.last().copied().unwrap_or(self.fresh)
    }

    /// Adds a new child that serves `client` and has the next slot.
    pub(super) fn add(&mut self, pid: Pid, client: Newcomer, config: &Config) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.fresh += 1;
            self.fresh - 1
        });
        let child = Child {
            client,
            slot,
            is_stranger: client.is_stranger(&config.open_networks),
            begun: monotonic_millis(),
            told: None,
        };
        self.strangers += usize::from(child.is_stranger);
        let share = self.sources.entry(client.source).or_default();
        *share.count(&child) += 1;
        let half = 2 * share.all() >= config.children_per_source;
        self.running.insert(pid, child);
        self.is_tight |= half || self.count() >= self.tight_from(config);
    }

    /// Returns the number of children from which on some may have to yield.
    pub(super) fn tight_from(&self, config: &Config) -> usize {
        let half = config.max_children.div_ceil(2);
        half.min(config.early_drop).min(config.waiting_children())
    }

    /// Removes a child that has ended.
    pub(super) fn remove(&mut self, pid: Pid) -> Option<(Child, State)> {
        let child = self.running.remove(&pid)?;
        let state = self.state(&child);
        self.board.slot(child.slot).clear();
        self.free.push(child.slot);
        match child.told {
            Some(told) => {
                self.told -= 1;
                if told.is_replaced {
                    self.replaced -= 1;
                } else {
                    self.uncount(&child);
                }
            }
            None => self.uncount(&child),
        }
        Some((child, state))
    }

    /// Gives back the share of a child.
    fn uncount(&mut self, child: &Child) {
        self.strangers -= usize::from(child.is_stranger);
        let source = child.client.source;
        if let Some(share) = self.sources.get_mut(&source) {
            *share.count(child) -= 1;
            if share.all() == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// Returns how many there are, without those that were replaced.
    pub(super) fn count(&self) -> usize {
        self.running.len() - self.replaced
    }

    /// Returns the share of this source.
    pub(super) fn of(&self, source: Source) -> Share {
        self.sources.get(&source).copied().unwrap_or_default()
    }

    /// Returns how many serve clients that may make no request.
    pub(super) fn strangers(&self) -> usize {
        self.strangers
    }

    /// Returns the state of a child, which it may change at any time.
    pub(super) fn state(&self, child: &Child) -> State {
        let state = State::of_word(self.board.slot(child.slot).phase());
        match state.phase {
            Phase::Silent => State {
                since: child.begun,
                ..state
            },
            _ => state,
        }
    }

    /// Returns the children that were not asked to yield, with their states.
    pub(super) fn present(&self) -> impl Iterator<Item = (Pid, &Child, State)> {
        let present = self
            .running
            .iter()
            .filter(|(_, child)| child.told.is_none());
        present.map(|(pid, child)| (*pid, child, self.state(child)))
    }

    /// Returns how many serve a client that has not completed a request.
    pub(super) fn unserved(&self) -> usize {
        let unserved = |child: &&Child| !self.state(child).is_served;
        self.running.values().filter(unserved).count()
    }

    /// Returns the crowd, as a connection of this source sees it.
    pub(super) fn crowd(&self, source: Source) -> Crowd {
        let (mut unserved, mut own, mut others) = (0, 0, HashSet::new());
        for child in self.running.values() {
            if !self.state(child).is_served {
                unserved += 1;
                if child.client.source == source {
                    own += 1;
                } else {
                    others.insert(child.client.source);
                }
            }
        }
        Crowd {
            unserved,
            own,
            others: others.len(),
        }
    }

    /// Gives the place of the silent connection of this source that has waited longest to another one. Returns whether
    /// there was one, and fewer than `most` evictions in this second.
    pub(super) fn replace_silent(&mut self, source: Source, is_tcp: bool, most: u64) -> bool {
        let silent = self.present().filter(|(_, child, state)| {
            child.client.source == source
                && child.client.is_tcp() == is_tcp
                && state.phase == Phase::Silent
        });
        let longest = silent.min_by_key(|(_, _, state)| state.since);
        let longest = longest.map(|(pid, ..)| pid);
        longest.is_some_and(|pid| self.replace(pid, most))
    }

    /// Gives the place of a connection of the largest source of the Unix socket to `source`, which has at least two
    /// fewer: of one that waits for its client, if there is any, and of them of that which has waited longest. Returns
    /// whether there was one, and fewer than `most` evictions in this second.
    pub(super) fn replace_in_socket(&mut self, source: Source, most: u64) -> bool {
        let own = self.of(source).socket;
        // Root may use its part in full.
        let others = self
            .sources
            .iter()
            .filter(|(other, _)| **other != Source::User(0));
        let largest = others.max_by_key(|(_, share)| share.socket);
        let Some((&largest, share)) = largest.filter(|(_, share)| share.socket >= own + 2) else {
            return false;
        };
        debug_assert!(share.socket > 0, "it has a child");
        let theirs = self
            .present()
            .filter(|(_, child, _)| child.client.source == largest && !child.client.is_tcp());
        let longest = theirs.min_by_key(|(.., state)| (state.phase == Phase::Work, state.since));
        let longest = longest.map(|(pid, ..)| pid);
        longest.is_some_and(|pid| self.replace(pid, most))
    }

    fn replace(&mut self, pid: Pid, most: u64) -> bool {
        let Some(child) = self.running.get(&pid).copied() else {
            return false;
        };
        let share = self.sources.get_mut(&child.client.source);
        let may = share.is_some_and(|share| share.may_evict(monotonic_millis(), most));
        let has_slot = self.running.len() < SLOTS && self.replaced < MOST_REPLACED;
        if !may || !has_slot {
            return false;
        }
        self.tell(pid, false);
        if let Some(told) = self
            .running
            .get_mut(&pid)
            .and_then(|child| child.told.as_mut())
        {
            told.is_replaced = true;
        }
        self.replaced += 1;
        self.uncount(&child);
        true
    }

    /// Asks a child to yield its place.
    pub(super) fn tell(&mut self, pid: Pid, half_said: bool) {
        if let Some(child) = self.running.get_mut(&pid) {
            child.told = Some(Told {
                at: monotonic_millis(),
                half_said,
                is_replaced: false,
            });
            self.told += 1;
            self.is_tight = true;
            process::signal(pid, YIELD);
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

/// Returns the time since an instant of the monotonic clock in milliseconds.
pub(super) fn since(instant: u64, now: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(instant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_few_evictions_a_second() {
        let mut share = Share::default();
        let times = [0, 0, 999, 1_000, 1_001, 1_002, 5_000];
        let may = times.map(|now| share.may_evict(10_000 + now, 2));
        assert_eq!(may, [true, true, false, true, true, false, true]);
    }

    #[test]
    fn a_source_is_spared_below_the_mean() {
        let is_below = |unserved, own, others| {
            let crowd = Crowd {
                unserved,
                own,
                others,
            };
            crowd.is_below_mean()
        };
        assert!(is_below(256, 0, 1), "one attacker, and a new client");
        assert!(is_below(256, 9, 3));
        assert!(!is_below(256, 247, 3));
        assert!(!is_below(256, 0, 256), "each source has one");
        assert!(!is_below(256, 256, 0), "it is the only source");
        assert!(!is_below(0, 0, 0));
    }
}
