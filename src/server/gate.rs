//! Admission control: decides before the fork whether a connection gets a child. Reads memory only.

use std::time::Instant;

use super::children::Children;
use super::config::Config;
use super::penalties::Penalties;
use super::scoreboard::Counter;
use super::sources::Newcomer;
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
    /// Too many clients of networks that are not open are connected.
    Strangers,
    /// All places for clients of the Unix socket are taken.
    Socket,
}

impl Barred {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Source => Refusal::SourceLimit,
            Self::Crowd | Self::Strangers | Self::Socket => Refusal::Crowd,
            Self::Penalty => Refusal::Penalty,
        }
    }

    /// Returns the reason for the log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Source => "it has as many connections as children_per_source allows",
            Self::Crowd => "too many connections have not completed a request (early_drop)",
            Self::Penalty => {
                "it sent garbage, crashed a child, or kept requests half said under load"
            }
            Self::Strangers => {
                "too many clients that are not in open_networks are connected (stranger_percent)"
            }
            Self::Socket => "all socket_children are busy",
        }
    }

    pub(super) fn counter(self) -> Counter {
        match self {
            Self::Source => Counter::RefusedSource,
            Self::Crowd => Counter::RefusedEarly,
            Self::Penalty => Counter::RefusedPenalty,
            Self::Strangers => Counter::RefusedStrangers,
            Self::Socket => Counter::RefusedSocket,
        }
    }
}

/// Whose place a connection takes that gets a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    /// That of a silent connection of its source.
    OfSilent,
    /// That of a connection of another user of the Unix socket.
    OfSocket,
}

impl Place {
    pub(super) fn counter(self) -> Option<Counter> {
        match self {
            Self::Free => None,
            Self::OfSilent => Some(Counter::EvictedSilent),
            Self::OfSocket => Some(Counter::EvictedSocket),
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
    /// Decides whether a connection gets a child. Another one may have to yield its place to it.
    ///
    /// # Errors
    /// The reason why it does not.
    pub(super) fn admit(
        &mut self,
        client: &Newcomer,
        children: &mut Children,
        config: &Config,
    ) -> Result<Place, Barred> {
        let is_penalized = self.penalties.hit(client.source, Instant::now());
        if is_penalized && !client.is_exempt(&config.penalty_exempt) {
            return Err(Barred::Penalty);
        }
        match client.is_tcp() {
            true => self.admit_tcp(client, children, config),
            false => admit_local(client, children, config),
        }
    }

    fn admit_tcp(
        &mut self,
        client: &Newcomer,
        children: &mut Children,
        config: &Config,
    ) -> Result<Place, Barred> {
        let count = children.count();
        if count >= config.max_children {
            return Err(Barred::Crowd);
        }
        let is_stranger = client.is_stranger(&config.open_networks);
        if is_stranger && children.strangers() >= config.stranger_children() {
            return Err(Barred::Strangers);
        }
        // The connections of a user over the socket count: they take places that TCP clients could have.
        if children.of(client.source).all() >= config.children_per_source {
            return replace_silent(client, children, config);
        }
        if count >= config.early_drop {
            let percent = percent(children.unserved(), config.early_drop, config.max_children);
            let is_drawn = self.lot.draw() % 100 < percent;
            if is_drawn && !children.crowd(client.source).is_below_mean() {
                return Err(Barred::Crowd);
            }
        }
        Ok(Place::Free)
    }
}

/// Decides about a client of a Unix socket, which has no early drop. What its user does over TCP does not count, so
/// that no user locks itself out of the socket.
///
/// When `max_children` is reached, a user gets a child only if it has fewer children than a quarter of the places that
/// the socket has beyond it. When these are taken as well, the user who has most of them yields one. Root has places of
/// its own, to be able to repair the system.
fn admit_local(
    client: &Newcomer,
    children: &mut Children,
    config: &Config,
) -> Result<Place, Barred> {
    let (count, own) = (children.count(), children.of(client.source).socket);
    if own >= config.children_per_source && !client.is_root() {
        return replace_silent(client, children, config);
    }
    if count < config.max_children {
        return Ok(Place::Free);
    }
    let of_socket = config.max_children + config.socket_children;
    if client.is_root() && count < of_socket + config.root_children {
        return Ok(Place::Free);
    }
    if own >= (config.socket_children / 4).max(1) && !client.is_root() {
        return replace_silent(client, children, config);
    }
    if count < of_socket {
        return Ok(Place::Free);
    }
    match children.replace_in_socket(client.source, config.evictions_per_second) {
        true => Ok(Place::OfSocket),
        false => Err(Barred::Socket),
    }
}

fn replace_silent(
    client: &Newcomer,
    children: &mut Children,
    config: &Config,
) -> Result<Place, Barred> {
    let most = config.evictions_per_second;
    match children.replace_silent(client.source, client.is_tcp(), most) {
        true => Ok(Place::OfSilent),
        false => Err(Barred::Source),
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
