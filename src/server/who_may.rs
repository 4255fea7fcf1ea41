//! Who may do what.

use std::net::SocketAddr;

use super::config::Config;

/// How somebody came to us, which decides what they may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Plain TCP from an open network: whoever they say, and nobody can be sure.
    Open,
    /// Plain TCP from elsewhere: nobody.
    Nobody,
}

/// The standing of a client that comes from `peer`.
pub(super) fn standing(peer: SocketAddr, config: &Config) -> Standing {
    let ip = peer.ip().to_canonical();
    if config.open_networks.iter().any(|net| net.contains(&ip)) {
        Standing::Open
    } else {
        Standing::Nobody
    }
}

/// What [`Standing::Nobody`] is told, whatever they ask for.
pub(super) const NOT_FROM_HERE: &str =
    "Not allowed from this address: the server's open_networks does not include it";
