//! How long the daemon waits for a client: long while there is room, and shorter the fewer places are left.
//!
//! The master decides this, also for connections that wait already, and asks the child to close its connection. The
//! child then tells its client, and is killed if that takes too long.

use std::collections::HashMap;
use std::time::Duration;

use super::children::{Children, since};
use super::config::Config;
use super::phase::Phase;
use super::scoreboard::Counter;
use super::sources::{Newcomer, Source};
use crate::sys::clock::monotonic_millis;
use crate::sys::process::{self, Pid};

/// How long a child may take to close its connection after it was asked to.
const GRACE: Duration = Duration::from_secs(1);
/// Like [`GRACE`], for a child that does not wait for its client: it asks the disk, for example.
const WORK_GRACE: Duration = Duration::from_secs(30);
/// A session that has waited for less than this does not count as one that only waits.
const ACTIVE: Duration = Duration::from_secs(1);
/// The intervals between two checks, with and without pressure that calls for haste.
const CHECK_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How few places are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pressure {
    None,
    /// Half of all places, or of those of the source, are taken.
    Half,
    /// `early_drop` clients have not completed a request.
    Crowd,
    /// No place is left.
    Full,
}

impl Pressure {
    /// Returns how long to wait for something that may take `usual` without pressure.
    fn patience(self, usual: Duration, config: &Config) -> Option<Duration> {
        let third = usual / 3;
        match self {
            // The child itself watches the clock.
            Self::None => None,
            Self::Half => Some(third),
            Self::Crowd => Some(third.min(config.crowd_timeout)),
            Self::Full => Some(third.min(config.full_timeout)),
        }
    }
}

/// The number of connections that were asked to yield.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evicted {
    /// They have waited too long.
    pub(super) slow: u64,
    /// Too many sessions only wait.
    pub(super) waiting: u64,
}

impl Children {
    /// Returns when to check the children again, or `None` if none of them can have to yield.
    pub(super) fn check_every(&self, config: &Config) -> Option<Duration> {
        if !self.is_tight {
            return None;
        }
        let (hasty, calm) = CHECK_EVERY;
        let is_hasty = self.told > 0
            || self.count() >= config.max_children
            || self.count() >= config.early_drop && self.unserved() >= config.early_drop;
        Some(if is_hasty { hasty } else { calm })
    }

    /// Asks the children to yield whose clients have waited too long for the present pressure, and the sessions that
    /// wait where too many do. Kills those that did not yield.
    pub(super) fn enforce_patience(&mut self, config: &Config) -> Evicted {
        let now = monotonic_millis();
        self.kill_reluctant(now);
        let slow = self.slow(config, now);
        for (pid, half_said) in &slow {
            self.tell(*pid, *half_said);
        }
        let waiting = self.waiting(config, now);
        for pid in &waiting {
            self.tell(*pid, false);
        }
        let half = |share: usize| 2 * share >= config.children_per_source;
        self.is_tight = self.told > 0
            || self.count() >= self.tight_from(config)
            || self.sources.values().any(|share| half(share.all()));
        let evicted = Evicted {
            slow: slow.len() as u64,
            waiting: waiting.len() as u64,
        };
        self.board.count(Counter::EvictedSlow, evicted.slow);
        self.board.count(Counter::EvictedWaiting, evicted.waiting);
        evicted
    }

    fn kill_reluctant(&self, now: u64) {
        for (pid, child) in &self.running {
            let Some(told) = child.told else {
                continue;
            };
            let grace = match self.state(child).phase {
                Phase::Work => WORK_GRACE,
                _ => GRACE,
            };
            if since(told.at, now) >= grace {
                process::kill(*pid);
            }
        }
    }

    /// Returns whether there is any pressure on a client like this one.
    pub(super) fn is_pressed(&self, client: &Newcomer, config: &Config) -> bool {
        self.pressure(client, self.unserved(), config) > Pressure::None
    }

    /// Returns the pressure on a client while `unserved` clients have not completed a request. Clients of the Unix
    /// socket have places of their own.
    fn pressure(&self, client: &Newcomer, unserved: usize, config: &Config) -> Pressure {
        let is_tcp = client.is_tcp();
        let own = if is_tcp { 0 } else { config.socket_children };
        if self.count() >= config.max_children + own {
            Pressure::Full
        } else if is_tcp && unserved >= config.early_drop {
            Pressure::Crowd
        } else if 2 * self.count() >= config.max_children
            || 2 * self.of(client.source).all() >= config.children_per_source
        {
            Pressure::Half
        } else {
            Pressure::None
        }
    }

    /// Returns the children that have waited too long for the present pressure, each with whether its client has begun
    /// a request and not completed it.
    fn slow(&self, config: &Config, now: u64) -> Vec<(Pid, bool)> {
        let unserved = self.unserved();
        let slow = self.present().filter(|(_, child, state)| {
            let Some(usual) = state.phase.patience(config) else {
                return false;
            };
            let pressure = self.pressure(&child.client, unserved, config);
            let patience = pressure.patience(usual, config);
            patience.is_some_and(|patience| since(state.since, now) >= patience)
        });
        slow.map(|(pid, _, state)| (pid, state.phase == Phase::Request))
            .collect()
    }

    /// Returns the sessions of TCP clients that must yield because too many only wait. Of each source, and of the
    /// source that has most of them, the one that has waited longest yields.
    fn waiting(&self, config: &Config, now: u64) -> Vec<Pid> {
        let (most, most_of_source) = (config.waiting_children(), config.waiting_of_source());
        let mut waiting: HashMap<Source, Vec<(u64, Pid)>> = HashMap::new();
        let mut count = 0;
        for (pid, child, state) in self.present() {
            let waits = state.phase.is_waiting_session() && since(state.since, now) >= ACTIVE;
            if waits && child.client.is_tcp() {
                let of_source = waiting.entry(child.client.source).or_default();
                of_source.push((state.since, pid));
                count += 1;
            }
        }
        // The longest wait last.
        let by_start = |of_source: &mut Vec<(u64, Pid)>| {
            of_source.sort_unstable_by_key(|(since, _)| std::cmp::Reverse(*since));
        };
        waiting.values_mut().for_each(by_start);
        let mut yielding = Vec::new();
        while let Some(largest) = waiting.values_mut().max_by_key(|of_source| of_source.len()) {
            let too_many = largest.len() > most_of_source || count > most;
            let Some((_, pid)) = largest.pop_if(|_| too_many) else {
                break;
            };
            yielding.push(pid);
            count -= 1;
        }
        yielding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigFile;
    use crate::server::phase::State;
    use crate::server::scoreboard::Scoreboard;
    use crate::sys::dir::Dir;
    use crate::sys::peer::Peer;

    /// Children that exist in the table only. None of the pids is a process: the kernel's limit is lower.
    struct Table {
        children: Children,
        config: Config,
        next: i32,
    }

    impl Table {
        fn new(keys: &str) -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let dir = Dir::open(dir.path()).expect("opened");
            let board = Scoreboard::create(&dir).expect("made");
            Self {
                children: Children::new(board, 9, None),
                config: ConfigFile::parse(keys).expect("valid").settings(),
                next: 1 << 24,
            }
        }

        /// Adds a child of this source that has been in this phase for some milliseconds.
        fn add(&mut self, source: u32, phase: Phase, millis: u64) -> Pid {
            let client = Newcomer {
                peer: Peer::Inet("127.0.0.1:9".parse().expect("an address")),
                source: Source::User(source),
            };
            self.add_client(client, phase, millis)
        }

        fn add_client(&mut self, client: Newcomer, phase: Phase, millis: u64) -> Pid {
            self.next += 1;
            let pid = Pid::for_tests(self.next);
            let state = State {
                phase,
                is_served: phase.is_waiting_session() || phase == Phase::Work,
                since: monotonic_millis() - millis,
            };
            let slot = self.children.next_slot();
            self.children.add(pid, client, &self.config);
            self.children.board.slot(slot).set_phase(state.word());
            pid
        }

        fn slow(&self) -> Vec<(Pid, bool)> {
            self.children.slow(&self.config, monotonic_millis())
        }

        fn waiting(&self) -> Vec<Pid> {
            self.children.waiting(&self.config, monotonic_millis())
        }
    }

    #[test]
    fn patience_ends_with_the_room() {
        let keys =
            "max_children = 8\nearly_drop = 6\nfirst_byte_timeout = 300\nrequest_timeout = 30\n";
        let mut table = Table::new(keys);
        let slow = |table: &Table| table.slow().len();
        table.add(1, Phase::Step, 250_000);
        table.add(2, Phase::Step, 90_000);
        table.add(3, Phase::Request, 9_000);
        assert_eq!(slow(&table), 0, "there is room");
        table.add(4, Phase::Work, 500_000);
        assert_eq!(slow(&table), 1, "half is taken: a third of 300 s");
        table.add(5, Phase::Request, 11_000);
        assert_eq!(slow(&table), 2, "a third of 30 s");
        table.add(6, Phase::Work, 0);
        assert_eq!(slow(&table), 2);
        table.config.early_drop = 4;
        assert_eq!(slow(&table), 3, "a crowd: 10 s");
        table.add(7, Phase::Work, 0);
        table.add(8, Phase::Watch, 500_000);
        let last = table.slow();
        assert_eq!(last.len(), 4, "all are busy: 1 s");
        let half_said = last.iter().filter(|(_, half_said)| *half_said);
        assert_eq!(half_said.count(), 2, "only the requests are half said");
    }

    #[test]
    fn a_source_with_half_of_its_share_has_less_patience() {
        let mut table = Table::new("max_children = 100\nchildren_per_source = 4\n");
        table.add(1, Phase::Request, 20_000);
        table.add(2, Phase::Request, 20_000);
        assert_eq!(table.slow(), []);
        let late = table.add(1, Phase::Step, 101_000);
        let mut slow: Vec<_> = table.slow();
        slow.sort_by_key(|(pid, _)| pid.number());
        assert_eq!((slow.len(), slow[1]), (2, (late, false)));
    }

    #[test]
    fn clients_of_the_socket_have_places_of_their_own() {
        let mut table = Table::new("max_children = 4\nsocket_children = 2\nearly_drop = 2\n");
        let client = Newcomer {
            peer: Peer::Local { uid: 9, pid: 9 },
            source: Source::User(9),
        };
        let local = table.add_client(client, Phase::Request, 9_000);
        for source in 1..5 {
            table.add(source, Phase::Request, 0);
        }
        assert_eq!(table.slow(), []);
        table.add(7, Phase::Work, 0);
        assert_eq!(
            table.slow(),
            [(local, true)],
            "its places are taken as well"
        );
    }

    #[test]
    fn of_the_sessions_that_only_wait_the_longest_yields() {
        let mut table = Table::new("max_children = 16\nchildren_per_source = 6\n");
        let mut own = |millis| table.add(1, Phase::Watch, millis);
        let [_, second, first, _] = [5_000, 7_000, 8_000, 6_000].map(&mut own);
        own(500);
        assert_eq!(table.waiting(), [first], "half of the share of 6");
        for source in 2..4 {
            table.add(source, Phase::Idle, 90_000);
        }
        table.add(4, Phase::Request, 90_000);
        assert_eq!(
            table.waiting(),
            [first, second],
            "a quarter of 16, from the largest source"
        );
        table.config.waiting_percent = 100;
        table.config.waiting_source_percent = 100;
        assert_eq!(table.waiting(), []);
    }
}
