//! Accounting by source. Each source has a limited share, and sources that time out or send garbage are throttled.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::sys::peer::Peer;

/// The unit to which limits and penalties apply: an IPv4 address, an IPv6 network of 64 bits (because addresses in it
/// are cheap), a user of this machine, or a socket whose clients have one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    V4(u32),
    /// The upper half of an IPv6 address.
    V6(u64),
    /// A uid.
    User(u32),
    /// The index of a socket whose clients have one name.
    Socket(usize),
}

impl Source {
    /// Returns a number for this source, which is the same in all processes of a daemon.
    pub(super) fn number(self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Returns the source of a connection from `peer`.
    pub(super) fn of(peer: Peer) -> Self {
        match peer {
            Peer::Local { uid, .. } => Self::User(uid),
            Peer::Named { socket, .. } => Self::Socket(socket),
            Peer::Inet(address) => match address.ip().to_canonical() {
                IpAddr::V4(ip) => Self::V4(ip.to_bits()),
                IpAddr::V6(ip) => {
                    let [upper @ .., _, _, _, _, _, _, _, _] = ip.octets();
                    Self::V6(u64::from_be_bytes(upper))
                }
            },
        }
    }
}

/// A reason for a penalty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// The client sent garbage.
    Garbage,
    /// The client took too long.
    Timeout,
    /// The child ended abnormally.
    Crash,
}

impl Offence {
    /// Returns the first penalty for this offence. Each further offence doubles the penalty.
    fn weight(self) -> Duration {
        Duration::from_secs(match self {
            Self::Garbage => 1,
            Self::Timeout => 5,
            Self::Crash => 30,
        })
    }
}

/// The longest penalty.
const LONGEST: Duration = Duration::from_secs(600);
/// The number of penalized sources that are kept. Beyond it, the source whose penalty ends first is dropped.
const REMEMBERED: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Penalty {
    until: Instant,
    /// The length of the last penalty.
    span: Duration,
}

impl Penalty {
    /// Returns whether the source has committed no offence for ten times its penalty. It then starts anew.
    fn is_forgiven(&self, now: Instant) -> bool {
        now >= self.until + self.span * 10
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
        let before = self
            .0
            .get(&source)
            .filter(|penalty| !penalty.is_forgiven(now));
        let span = match before {
            Some(before) => (before.span * 2).max(offence.weight()).min(LONGEST),
            None => offence.weight(),
        };
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&source) {
            self.make_room(now);
        }
        let until = now + span;
        self.0.insert(source, Penalty { until, span });
        span
    }

    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, penalty| !penalty.is_forgiven(now));
        if self.0.len() >= REMEMBERED {
            let soonest = self.0.iter().min_by_key(|(_, penalty)| penalty.until);
            if let Some(source) = soonest.map(|(source, _)| *source) {
                self.0.remove(&source);
            }
        }
    }
}

/// Returns whether `peer` is never penalized: a user of this machine, or an address in one of `networks`.
pub(super) fn is_exempt(peer: Peer, networks: &[IpNet]) -> bool {
    match peer {
        Peer::Local { .. } | Peer::Named { .. } => true,
        Peer::Inet(address) => {
            let ip = address.ip().to_canonical();
            networks.iter().any(|network| network.contains(&ip))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(Peer::Inet(text.parse().expect("an address")))
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::ffff:2]:9"));
        assert_ne!(source("[2001:db8::1]:1"), source("[2001:db8:0:1::1]:1"));
        assert_ne!(source("10.0.0.1:1"), source("10.0.0.2:1"));
        assert_eq!(source("[::ffff:10.0.0.1]:1"), source("10.0.0.1:2"));
    }

    #[test]
    fn penalties_grow_and_are_forgiven() {
        let mut penalties = Penalties::default();
        let (one, other) = (source("10.0.0.1:1"), source("10.0.0.2:1"));
        let mut now = Instant::now();
        let spans: Vec<u64> = (0..12)
            .map(|_| penalties.add(one, Offence::Garbage, now).as_secs())
            .collect();
        assert_eq!(spans, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert!(penalties.hit(one, now + Duration::from_secs(599)));
        assert!(!penalties.hit(one, now + LONGEST));
        assert!(!penalties.hit(other, now));
        now += LONGEST * 11;
        assert_eq!(penalties.add(one, Offence::Timeout, now).as_secs(), 5);
        assert_eq!(penalties.add(one, Offence::Garbage, now).as_secs(), 10);
        assert_eq!(penalties.add(other, Offence::Crash, now).as_secs(), 30);
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
