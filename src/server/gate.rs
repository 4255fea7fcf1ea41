//! Admission control: decides before the fork whether a connection gets a child. Reads memory only.

use std::time::Instant;

use super::config::Config;
use super::reaper::Children;
use super::scoreboard::Counter;
use super::sources::{Penalties, Source, is_exempt};
use crate::sys::peer::Peer;
use crate::sys::random;
use crate::sys::socket::Stream;
use crate::wire::line::{Declined, Refusal};

/// Why a connection gets no child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Barred {
    /// Its source has reached its limit of connections.
    Source,
    /// Too many connections have not completed a request yet; this one was dropped at random, or no child is free.
    Crowd,
    Penalty,
}

impl Barred {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Source => Refusal::SourceLimit,
            Self::Crowd => Refusal::Crowd,
            Self::Penalty => Refusal::Penalty,
        }
    }

    /// Returns the reason for the log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Source => "it has as many connections as children_per_source allows",
            Self::Crowd => "too many connections have not completed a request (early_drop)",
            Self::Penalty => "it timed out or sent garbage too often",
        }
    }

    pub(super) fn counter(self) -> Counter {
        match self {
            Self::Source => Counter::RefusedSource,
            Self::Crowd => Counter::RefusedEarly,
            Self::Penalty => Counter::RefusedPenalty,
        }
    }
}

/// The state of admission control.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) penalties: Penalties,
    lot: Lot,
}

impl Gate {
    /// Decides whether a connection from `peer` gets a child.
    ///
    /// # Errors
    /// The reason why it does not.
    pub(super) fn may_pass(
        &mut self,
        peer: Peer,
        children: &Children,
        config: &Config,
    ) -> Result<(), Barred> {
        let source = Source::of(peer);
        if self.penalties.hit(source, Instant::now()) && !is_exempt(peer, &config.penalty_exempt) {
            return Err(Barred::Penalty);
        }
        if children.of(source) >= config.children_per_source {
            return Err(Barred::Source);
        }
        let is_root = matches!(peer, Peer::Local { uid: 0, .. });
        if !matches!(peer, Peer::Inet(_)) {
            // Socket clients are exempt from early drop. When `max_children` is reached, a login gets a child only if it
            // has fewer children than a quarter of the reserve. Root may use all of it, to be able to repair the system.
            let share = (config.reserve() / 4).max(1);
            let is_full = children.count() >= config.max_children;
            return if is_full && !is_root && children.of(source) >= share {
                Err(Barred::Source)
            } else {
                Ok(())
            };
        }
        if children.count() >= config.max_children {
            return Err(Barred::Crowd);
        }
        if children.count() >= config.early_drop {
            let percent = percent(children.unserved(), config.early_drop, config.max_children);
            if self.lot.draw() % 100 < percent {
                return Err(Barred::Crowd);
            }
        }
        Ok(())
    }
}

/// Returns the percentage of connections to refuse while `unserved` children have not completed a request: none below
/// `first`, 30 from there on, rising to 100 at `all`.
fn percent(unserved: usize, first: usize, all: usize) -> u64 {
    if unserved < first {
        return 0;
    }
    if unserved >= all || first >= all {
        return 100;
    }
    30 + (70 * (unserved - first) / (all - first)) as u64
}

/// A xorshift64 generator. Clients cannot predict it well enough to gain an advantage.
#[derive(Debug)]
struct Lot(u64);

impl Default for Lot {
    fn default() -> Self {
        let mut seed = [0; 8];
        // Without a random seed the sequence is the same each time, but still evenly distributed.
        let _ = random::fill(&mut seed);
        Self(u64::from_le_bytes(seed).max(1))
    }
}

impl Lot {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Sends the refusal without blocking. Input that has arrived is read first: closing a connection with unread input
/// resets it, which would destroy the reply in transit.
pub(super) fn refuse(mut stream: &Stream, refusal: Refusal) {
    use std::io::{Read as _, Write as _};
    let mut said = [0; 4096];
    for _ in 0..16 {
        if !matches!(stream.read(&mut said), Ok(n) if n > 0) {
            break;
        }
    }
    // Best effort: no process exists that could wait for this client.
    let _ = stream.write_all(Declined::from(refusal).reply().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_refused_connections_rises() {
        let shares = [0, 255, 256, 384, 511, 512, 900].map(|n| percent(n, 256, 512));
        assert_eq!(shares, [0, 0, 30, 65, 99, 100, 100]);
        assert_eq!(percent(10, 10, 10), 100);
    }

    #[test]
    fn draws_are_evenly_distributed() {
        let mut lot = Lot::default();
        let low = (0..10_000).filter(|_| lot.draw() % 100 < 30).count();
        assert!((2_700..3_300).contains(&low), "{low}");
    }
}
