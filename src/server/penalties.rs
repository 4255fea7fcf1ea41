//! Penalties: sources that waste the time of the daemon on purpose are refused for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::sources::Source;

/// A reason for a penalty. A client that is slow, or whose connection breaks, commits none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// The client sent garbage.
    Garbage,
    /// The client kept a request half said while others needed its place.
    HalfSaid,
    /// The child ended abnormally.
    Crash,
}

impl Offence {
    /// Returns the penalty for a first offence.
    fn weight(self) -> Duration {
        Duration::from_secs(match self {
            Self::Garbage => 1,
            Self::HalfSaid => 5,
            Self::Crash => 30,
        })
    }
}

/// The longest penalty.
const LONGEST: Duration = Duration::from_secs(600);
/// The time after which one offence is forgotten, also during a penalty. A health check that sends garbage every 10
/// seconds is therefore never refused for more than some seconds.
const FORGET: Duration = Duration::from_secs(10);
/// The most offences that count: each doubles the penalty, and this many reach the longest one.
const MOST: f64 = 10.0;
/// The number of penalized sources that are kept. Beyond it, the source whose penalty ends first is dropped.
const REMEMBERED: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Penalty {
    until: Instant,
    /// The number of offences at the time of the last one, without those that were forgotten.
    offences: f64,
    last: Instant,
}

impl Penalty {
    /// Returns the number of offences that are not forgotten yet.
    fn offences(&self, now: Instant) -> f64 {
        let forgotten =
            now.saturating_duration_since(self.last).as_secs_f64() / FORGET.as_secs_f64();
        (self.offences - forgotten).max(0.0)
    }

    /// Returns whether it is over, and all offences are forgotten.
    fn is_forgotten(&self, now: Instant) -> bool {
        now >= self.until && self.offences(now) <= 0.0
    }
}

/// The penalized sources.
#[derive(Debug, Default)]
pub(super) struct Penalties(HashMap<Source, Penalty>);

impl Penalties {
    /// Returns whether connections from `source` are refused at `now`.
    pub(super) fn hit(&self, source: Source, now: Instant) -> bool {
        // The table is usually empty: skip the hash.
        !self.0.is_empty()
            && self
                .0
                .get(&source)
                .is_some_and(|penalty| penalty.until > now)
    }

    /// Records an offence and returns the length of the penalty.
    pub(super) fn add(&mut self, source: Source, offence: Offence, now: Instant) -> Duration {
        let before = self.0.get(&source);
        let earlier = before.map_or(0.0, |penalty| penalty.offences(now));
        let span = offence.weight().mul_f64(earlier.exp2()).min(LONGEST);
        // A light offence does not shorten the penalty for a grave one.
        let until = before.map_or(now, |penalty| penalty.until).max(now + span);
        if self.0.len() >= REMEMBERED && before.is_none() {
            self.make_room(now);
        }
        let penalty = Penalty {
            until,
            offences: (earlier + 1.0).min(MOST),
            last: now,
        };
        self.0.insert(source, penalty);
        until - now
    }

    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, penalty| !penalty.is_forgotten(now));
        if self.0.len() >= REMEMBERED {
            let soonest = self.0.iter().min_by_key(|(_, penalty)| penalty.until);
            if let Some(source) = soonest.map(|(source, _)| *source) {
                self.0.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Source = Source::V4(1);
    const OTHER: Source = Source::V4(2);

    fn after(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn penalties_grow_and_are_forgotten() {
        let mut penalties = Penalties::default();
        let mut now = Instant::now();
        let spans: Vec<u64> = (0..12)
            .map(|_| penalties.add(ONE, Offence::Garbage, now).as_secs())
            .collect();
        assert_eq!(spans, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert!(penalties.hit(ONE, now + after(599)));
        assert!(!penalties.hit(ONE, now + LONGEST));
        assert!(!penalties.hit(OTHER, now));
        now += LONGEST;
        assert_eq!(penalties.add(ONE, Offence::HalfSaid, now).as_secs(), 5);
        assert_eq!(penalties.add(ONE, Offence::Garbage, now).as_secs(), 5);
        assert_eq!(penalties.add(OTHER, Offence::Crash, now).as_secs(), 30);
    }

    #[test]
    fn a_health_check_every_ten_seconds_is_refused_for_seconds_only() {
        for every in [2, 5, 10, 30] {
            let mut penalties = Penalties::default();
            let begun = Instant::now();
            let mut longest = None;
            for now in (0..10_000).map(|probe| begun + after(probe * every)) {
                if !penalties.hit(ONE, now) {
                    longest = longest.max(Some(penalties.add(ONE, Offence::Garbage, now)));
                }
            }
            let longest = longest.expect("a penalty");
            assert!(
                longest < after(if every < 10 { 15 } else { 3 }),
                "{every}: {longest:?}"
            );
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut penalties = Penalties::default();
        let now = Instant::now();
        for n in 0..3 * u32::try_from(REMEMBERED).expect("small") {
            penalties.add(Source::V4(n), Offence::Garbage, now);
        }
        assert_eq!(penalties.0.len(), REMEMBERED);
        // The longest penalties stay.
        for _ in 0..5 {
            penalties.add(Source::V6(1), Offence::Crash, now);
        }
        for n in 0..REMEMBERED as u64 {
            penalties.add(Source::V6(2 + n), Offence::Garbage, now);
        }
        assert!(penalties.hit(Source::V6(1), now + Duration::from_secs(400)));
    }
}
