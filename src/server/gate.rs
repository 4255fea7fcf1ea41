//! Whether a connection gets a child: asked before the fork, and of memory alone.

use std::time::Instant;

use super::config::Config;
use super::reaper::Children;
use super::scoreboard::Counter;
use super::sources::{Penalties, Source, is_exempt};
use crate::sys::peer::Peer;
use crate::sys::random;
use crate::sys::socket::Stream;
use crate::wire::line::{Declined, Refusal};

/// Why a connection does not get a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Barred {
    /// Its source has as many connections as one may have.
    Source,
    /// There are many that have not completed a request, and it was drawn by lot.
    Crowd,
    /// Its source is penalized.
    Penalty,
}

impl Barred {
    /// What the client is told.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Source => Refusal::SourceLimit,
            Self::Crowd => Refusal::Crowd,
            Self::Penalty => Refusal::Penalty,
        }
    }

    /// What the log says.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Source => "it has as many connections as children_per_source allows",
            Self::Crowd => "too many connections have not asked for anything (early_drop)",
            Self::Penalty => "it timed out, or spoke no dialect, too often",
        }
    }

    /// What it is counted as.
    pub(super) fn counter(self) -> Counter {
        match self {
            Self::Source => Counter::RefusedSource,
            Self::Crowd => Counter::RefusedEarly,
            Self::Penalty => Counter::RefusedPenalty,
        }
    }
}

/// What the gate remembers.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) penalties: Penalties,
    lot: Lot,
}

impl Gate {
    /// Whether a connection from `peer` may have a child.
    ///
    /// # Errors
    /// Why not.
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
        if let Peer::Local { uid, .. } = peer {
            // No crowd keeps out those who come over the socket, and none of them takes all that is left; root can
            // always mend things.
            let share = (config.reserve() / 4).max(1);
            let is_full = children.count() >= config.max_children;
            return if is_full && uid != 0 && children.of(source) >= share {
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

/// How many of a hundred connections are refused while `unserved` children have not completed a request: from
/// `first` on 30, and rising to all at `all`.
fn percent(unserved: usize, first: usize, all: usize) -> u64 {
    if unserved < first {
        return 0;
    }
    if unserved >= all || first >= all {
        return 100;
    }
    30 + (70 * (unserved - first) / (all - first)) as u64
}

/// Numbers that a client cannot foresee well enough to pass more often than others (xorshift64).
#[derive(Debug)]
struct Lot(u64);

impl Default for Lot {
    fn default() -> Self {
        let mut seed = [0; 8];
        // Without a random seed the numbers are the same each time, and still evenly spread.
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

/// Says why a connection is refused, without waiting for anything. What the client has said is read first, as far as it is
/// there: closing a connection with unread input would reset it and destroy the line on its way.
pub(super) fn refuse(mut stream: &Stream, refusal: Refusal) {
    use std::io::{Read as _, Write as _};
    let mut said = [0; 4096];
    for _ in 0..16 {
        if !matches!(stream.read(&mut said), Ok(n) if n > 0) {
            break;
        }
    }
    // Best effort by intention: there is no process to wait for this client.
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
    fn lots_are_even() {
        let mut lot = Lot::default();
        let low = (0..10_000).filter(|_| lot.draw() % 100 < 30).count();
        assert!((2_700..3_300).contains(&low), "{low}");
    }
}
