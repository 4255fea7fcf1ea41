//! Where connections come from, counted: no source gets more than its share, and one that wastes time is penalized.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::sys::peer::Peer;

/// Something that can be held to account: an address, a network of 64 bits where addresses are cheap, or a user of
/// this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// An IPv4 address.
    V4(u32),
    /// The upper half of an IPv6 address.
    V6(u64),
    /// A user's number.
    User(u32),
}

impl Source {
    /// The source of a connection from `peer`.
    pub(super) fn of(peer: Peer) -> Self {
        match peer {
            Peer::Local { uid, .. } => Self::User(uid),
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

/// What earns a penalty, and for how long at first. It doubles with each further offence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// It spoke no dialect.
    Garbage,
    /// It took too long.
    Timeout,
    /// Its child did not end well.
    Crash,
}

impl Offence {
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
/// How many sources are remembered. With more, the one that is free soonest is forgotten.
const REMEMBERED: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Penalty {
    until: Instant,
    /// What the last offence has cost.
    span: Duration,
}

impl Penalty {
    /// A source that keeps quiet for ten times its penalty starts anew.
    fn is_forgiven(&self, now: Instant) -> bool {
        now >= self.until + self.span * 10
    }
}

/// The sources that have to wait.
#[derive(Debug, Default)]
pub(super) struct Penalties(HashMap<Source, Penalty>);

impl Penalties {
    /// Whether connections from `source` are refused now.
    pub(super) fn hit(&self, source: Source, now: Instant) -> bool {
        // Mostly there are none, and nothing is hashed.
        !self.0.is_empty()
            && self
                .0
                .get(&source)
                .is_some_and(|penalty| penalty.until > now)
    }

    /// Notes an offence; for how long the source has to wait.
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

/// Whether `peer` is never penalized: a user of this machine, or from one of these networks.
pub(super) fn is_exempt(peer: Peer, networks: &[IpNet]) -> bool {
    match peer {
        Peer::Local { .. } => true,
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
        // The worst stay.
        for _ in 0..5 {
            penalties.add(Source::V6(1), Offence::Crash, now);
        }
        for n in 0..REMEMBERED as u64 {
            penalties.add(Source::V6(2 + n), Offence::Garbage, now);
        }
        assert!(penalties.hit(Source::V6(1), now + Duration::from_secs(400)));
    }
}
