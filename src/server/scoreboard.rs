//! What the daemon does now, and has done: counted in a file that other programs read without asking it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::board::{Board, Slot};
use crate::sys::clock::boot_millis;
use crate::sys::dir::Dir;
use crate::sys::title;

/// The file in the run directory.
pub(super) const FILE: &str = "scoreboard";
/// As many children as can be configured, and those that are for the socket alone.
const SLOTS: usize = 32_000;

/// What is counted since the daemon was started. The names are those that `droplinectl` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    /// Connections that were accepted.
    Connections,
    /// Children that were forked.
    Forks,
    /// Connections refused: too many from one source.
    RefusedSource,
    /// Connections refused: too many that have not asked for anything.
    RefusedEarly,
    /// Connections refused: the source is penalized.
    RefusedPenalty,
    /// Times that accept or fork failed.
    Shortages,
    /// Children that did not end well.
    Crashes,
    /// Clients that took too long.
    Timeouts,
    /// Clients that spoke no dialect.
    Garbage,
    /// Requests that were refused.
    Refused,
    /// Requests that the daemon failed to do.
    Failed,
    /// Connections of the line dialect.
    Line,
    /// Connections of the framed dialect.
    Framed,
    /// Sessions.
    Sessions,
    /// Messages that were stored.
    Stored,
    /// Their bytes.
    StoredBytes,
    /// Messages that were delivered.
    Delivered,
    /// Times that the configuration was read again.
    Reloads,
    /// Lines of the log that syslogd did not take.
    LostLines,
    /// Times that all children were busy, and connections began to wait.
    Full,
    /// Requests that were not done because a disk is full.
    DiskFull,
}

const NAMES: [(Counter, &str); 21] = [
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
];

/// The words that the master and its children share, by number: how many lost lines are not in the log yet.
const LOST: usize = 0;
/// When the last complaint of a full disk was logged, by the clock that cannot be set, and how many were not since.
const COMPLAINED: usize = 1;
const UNSAID: usize = 2;
/// How often such a complaint is made at most, in milliseconds.
const COMPLAIN_EVERY: u64 = 10_000;

/// The scoreboard, for the master.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scoreboard(Board);

impl Scoreboard {
    /// Makes it in the run directory.
    ///
    /// # Errors
    /// Those of the system, as a sentence.
    pub(super) fn create(run_dir: &Dir) -> io::Result<Self> {
        let names = NAMES.map(|(_, name)| name);
        let board = Board::create(run_dir, FILE, &names, SLOTS);
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

    /// Counts.
    pub(super) fn count(self, what: Counter, n: u64) {
        self.0.add(what as usize, n);
    }

    /// Where lines are counted that syslogd did not take, until the log tells of them; and those of all time.
    pub(super) fn lost_lines(self) -> [&'static AtomicU64; 2] {
        [
            self.0.shared(LOST),
            self.0.counter(Counter::LostLines as usize),
        ]
    }

    /// Counts something that was not done for want of room on a disk, and says so in the log once in ten seconds,
    /// whichever process it is that meets it.
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
            0 => log::warn!("nothing new is taken: {why}"),
            n => log::warn!("nothing new is taken: {why} (and {n} times since the last such line)"),
        }
    }

    /// The slot of a child.
    pub(super) fn slot(self, index: usize) -> Slot {
        self.0.slot(index)
    }

    /// Where the child with this slot says what it does.
    pub(super) fn child(self, slot: usize) -> ChildStatus {
        ChildStatus {
            board: self,
            slot: self.0.slot(slot),
        }
    }

    /// One line with all counters, for the log.
    pub(super) fn summary(self) -> String {
        let all = self.0.counters();
        let all: Vec<_> = all
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        all.join(", ")
    }
}

/// The phase of a child whose client has completed a request.
const SERVED: u64 = 1;

/// Whether the client of the child with this slot has completed a request.
pub(super) fn is_served(slot: Slot) -> bool {
    slot.phase() == SERVED
}

/// How the title of a child begins.
const TITLE: &str = "droplined: ";

/// The place of one child on the scoreboard.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChildStatus {
    board: Scoreboard,
    slot: Slot,
}

impl ChildStatus {
    /// The calling child serves `peer` from now on.
    pub(super) fn take(self, peer: &str) {
        self.slot.take(peer);
        title::set(&[TITLE, peer]);
    }

    /// Says what is done, here and in the title that ps(1) shows.
    pub(super) fn doing(self, peer: &str, what: &str) {
        self.slot.doing(what);
        title::set(&[TITLE, peer, " ", what]);
    }

    /// The client has completed a request, or has read the reply: from now on the child waits for the disk, and not for
    /// the client.
    pub(super) fn served(self) {
        self.slot.set_phase(SERVED);
    }

    /// Counts.
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
