//! The scoreboard: counters and the state of each child, in a mapped file that other programs can read at any time.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::config::Titles;
use super::phase::{Phase, State};
use crate::store::OpenUsage;
use crate::sys::board::{Board, Slot};
use crate::sys::clock::boot_millis;
use crate::sys::dir::Dir;
use crate::sys::login;
use crate::sys::title;

pub(super) const FILE: &str = "scoreboard";
/// The number of slots: the largest `max_children`, `socket_children` and `root_children` that can be configured, and
/// some for children that were replaced and have not ended yet.
pub(super) const SLOTS: usize = 32_000;

/// The counters since the start of the daemon. `droplinectl` prints their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    /// Accepted connections.
    Connections,
    Forks,
    /// Connections refused: too many from one source.
    RefusedSource,
    /// Connections refused: too many that have not completed a request.
    RefusedEarly,
    RefusedPenalty,
    /// Failures of accept(2) and fork(2).
    Shortages,
    /// Children that ended abnormally.
    Crashes,
    /// Clients that took too long.
    Timeouts,
    /// Clients that sent garbage.
    Garbage,
    Refused,
    /// Requests that failed because of an error of the daemon.
    Failed,
    /// Connections of the line dialect.
    Line,
    /// Connections of the framed dialect.
    Framed,
    Sessions,
    Stored,
    StoredBytes,
    Delivered,
    Reloads,
    /// Log lines that syslogd did not take.
    LostLines,
    /// Times that `max_children` was reached and connections had to wait.
    Full,
    /// Requests that failed because a disk is full.
    DiskFull,
    /// Requests refused because open clients have used up a budget.
    RefusedBudget,
    /// What open clients use, all together: mailboxes, bytes, names and leases. These go up and down.
    OpenMailboxes,
    OpenBytes,
    OpenNames,
    OpenLeases,
    /// Connections refused: too many from networks that are not open.
    RefusedStrangers,
    /// Connections refused: all places for clients of the Unix socket are taken.
    RefusedSocket,
    /// Silent connections that had to yield to another one of their source.
    EvictedSilent,
    /// Connections of the Unix socket that had to yield to one of another user.
    EvictedSocket,
    /// Connections that had to yield because they waited too long while few places were free.
    EvictedSlow,
    /// Sessions that had to yield because too many only waited.
    EvictedWaiting,
}

const NAMES: [(Counter, &str); 32] = [
    (Counter::Connections, "connections"),
    (Counter::Forks, "forks"),
    (Counter::RefusedSource, "refused_source"),
    (Counter::RefusedEarly, "refused_early"),
    (Counter::RefusedPenalty, "refused_penalty"),
    (Counter::Shortages, "shortages"),
    (Counter::Crashes, "crashes"),
    (Counter::Timeouts, "timeouts"),
    (Counter::Garbage, "garbage"),
    (Counter::Refused, "refused"),
    (Counter::Failed, "failed"),
    (Counter::Line, "line"),
    (Counter::Framed, "framed"),
    (Counter::Sessions, "sessions"),
    (Counter::Stored, "stored"),
    (Counter::StoredBytes, "stored_bytes"),
    (Counter::Delivered, "delivered"),
    (Counter::Reloads, "reloads"),
    (Counter::LostLines, "lost_lines"),
    (Counter::Full, "full"),
    (Counter::DiskFull, "disk_full"),
    (Counter::RefusedBudget, "refused_budget"),
    (Counter::OpenMailboxes, "open_mailboxes"),
    (Counter::OpenBytes, "open_bytes"),
    (Counter::OpenNames, "open_names"),
    (Counter::OpenLeases, "open_leases"),
    (Counter::RefusedStrangers, "refused_strangers"),
    (Counter::RefusedSocket, "refused_socket"),
    (Counter::EvictedSilent, "evicted_silent"),
    (Counter::EvictedSocket, "evicted_socket"),
    (Counter::EvictedSlow, "evicted_slow"),
    (Counter::EvictedWaiting, "evicted_waiting"),
];

/// The index of a word shared by all processes: the number of lost lines that the log does not mention yet.
const LOST: usize = 0;
/// Indexes of shared words: the time of the last warning of a full disk, in milliseconds since boot, and the number of
/// warnings suppressed since.
const COMPLAINED: usize = 1;
const UNSAID: usize = 2;
/// The shortest interval between two such warnings, in milliseconds.
const COMPLAIN_EVERY: u64 = 10_000;

/// The daemon's scoreboard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scoreboard(Board);

impl Scoreboard {
    /// Creates the file in the run directory and maps it. The group of this process may read it if it is the daemon's
    /// own, as that of the account `dropline` is: the slots show who talks to whom.
    ///
    /// # Errors
    /// Those of the system, with the path and what to do.
    pub(super) fn create(run_dir: &Dir) -> io::Result<Self> {
        let names = NAMES.map(|(_, name)| name);
        let board = Board::create(run_dir, FILE, &names, SLOTS, login::has_own_group());
        Ok(Self(board.map_err(|e| {
            let hint = match e.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "; it needs 6 MB: make room there, or choose another --run-dir"
                }
                _ => "",
            };
            let path = run_dir.path_of(FILE);
            io::Error::new(
                e.kind(),
                format!("cannot make {}: {e}{hint}", path.display()),
            )
        })?))
    }

    pub(super) fn count(self, what: Counter, n: u64) {
        self.0.add(what as usize, n);
    }

    /// Returns the counts of lines that syslogd did not take: those that the log does not mention yet, and all of them.
    pub(super) fn lost_lines(self) -> [&'static AtomicU64; 2] {
        [
            self.0.shared(LOST),
            self.0.counter(Counter::LostLines as usize),
        ]
    }

    /// Returns the counters of what open clients use, for the store.
    pub(super) fn open_usage(self) -> OpenUsage<&'static AtomicU64> {
        let counter = |which: Counter| self.0.counter(which as usize);
        OpenUsage {
            mailboxes: counter(Counter::OpenMailboxes),
            bytes: counter(Counter::OpenBytes),
            names: counter(Counter::OpenNames),
            leases: counter(Counter::OpenLeases),
            refused: counter(Counter::RefusedBudget),
        }
    }

    /// Counts a request that failed because a disk is full. All processes together log one warning in ten seconds.
    pub(super) fn complain_of_disk(self, why: &dyn std::fmt::Display) {
        self.count(Counter::DiskFull, 1);
        let (last, unsaid) = (self.0.shared(COMPLAINED), self.0.shared(UNSAID));
        let (before, now) = (last.load(Ordering::Relaxed), boot_millis().max(1));
        let is_early = before > 0 && now.saturating_sub(before) < COMPLAIN_EVERY;
        let ours = !is_early
            && last
                .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !ours {
            unsaid.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match unsaid.swap(0, Ordering::Relaxed) {
            0 => log::warn!("refusing requests that need disk space: {why}"),
            n => log::warn!(
                "refusing requests that need disk space: {why} (and {n} times since the last such line)"
            ),
        }
    }

    pub(super) fn slot(self, index: usize) -> Slot {
        self.0.slot(index)
    }

    /// Returns the handle by which the child with this slot reports its state.
    pub(super) fn child(self, slot: usize, titles: Titles) -> ChildStatus {
        ChildStatus {
            board: self,
            slot: self.0.slot(slot),
            titles,
        }
    }

    /// Returns all counters on one line, for the log.
    pub(super) fn summary(self) -> String {
        let all = self.0.counters();
        let all: Vec<_> = all
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        all.join(", ")
    }
}

/// The prefix of a child's process title.
const TITLE: &str = "droplined: ";
/// The title of a child that has not received a request.
const IDLE: &str = "droplined: connection";

/// A child's handle to its slot and to the counters.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChildStatus {
    board: Scoreboard,
    slot: Slot,
    titles: Titles,
}

impl ChildStatus {
    /// Takes the slot for the calling child, which serves `peer`.
    pub(super) fn take(self, peer: &str) {
        self.slot.take(peer);
        match self.titles {
            Titles::Requests => title::set(&[IDLE]),
            Titles::Names => title::set(&[TITLE, peer]),
        }
    }

    /// Shows the current activity: `what` in the slot, and in the process title either `request`, which has no names,
    /// or `peer` and `what`.
    pub(super) fn doing(self, peer: &str, request: &str, what: &str) {
        self.slot.doing(what);
        match self.titles {
            Titles::Requests => title::set(&[TITLE, request]),
            Titles::Names => title::set(&[TITLE, peer, " ", what]),
        }
    }

    /// Records that the client has completed a request, or has read the reply: from now on the child waits for the
    /// disk, not for the client.
    pub(super) fn served(self) {
        self.set(Phase::Work, 0, true);
    }

    /// Records that the child does not wait for its client.
    pub(super) fn works(self) {
        self.waits(Phase::Work, 0);
    }

    /// Records what the child waits for, since this time of the monotonic clock.
    pub(super) fn waits(self, phase: Phase, since: u64) {
        let is_served = State::of_word(self.slot.phase()).is_served;
        self.set(phase, since, is_served);
    }

    fn set(self, phase: Phase, since: u64, is_served: bool) {
        let state = State {
            phase,
            is_served,
            since,
        };
        self.slot.set_phase(state.word());
    }

    pub(super) fn count(self, what: Counter, n: u64) {
        self.board.count(what, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_the_place_of_its_name() {
        for (index, (counter, _)) in NAMES.into_iter().enumerate() {
            assert_eq!(counter as usize, index);
        }
    }
}
