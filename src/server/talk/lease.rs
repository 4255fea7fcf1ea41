//! Leases of names: how long a client is online, and at which address.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::message::{LeaseToken, Speaks};
use crate::server::principal::Refused;
use crate::store::Lease;
use crate::sys::clock::{boot_millis, unix_millis};

/// Returns a lease of `span` from now, taken from the address `by`. Without an `address`, it is a reservation.
///
/// # Errors
/// When the kernel provides no random number.
pub(super) fn new(
    address: Option<SocketAddr>,
    speaks: Speaks,
    by: IpAddr,
    span: Duration,
) -> Result<Lease, Refused> {
    Ok(Lease {
        address,
        speaks,
        by,
        token: LeaseToken::random().map_err(Refused::Random)?,
        secret: None,
        since: unix_millis(),
        until: until(span),
    })
}

/// Returns when a lease ends that is taken or renewed now for `span`, in milliseconds since boot.
pub(super) fn until(span: Duration) -> u64 {
    boot_millis().saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// Returns the address to record for a client that connects from `peer` and reports `told`. Its IP address is that of
/// `peer`, unless the client is on this machine and reports one. `None` if `told` is multicast or of another family.
pub(super) fn seen(told: SocketAddr, peer: SocketAddr) -> Option<SocketAddr> {
    let told = SocketAddr::new(told.ip().to_canonical(), told.port());
    if told.is_ipv4() != peer.is_ipv4() || told.ip().is_multicast() {
        return None;
    }
    let ip = if peer.ip().is_loopback() && !told.ip().is_unspecified() {
        told.ip()
    } else {
        peer.ip()
    };
    Some(SocketAddr::new(ip, told.port()))
}

/// Returns where a client at `peer` can send an instant message to the holder of this lease. `None` if the holder is
/// offline, of another family, or on the loopback interface of this machine while the client is not.
pub(super) fn reachable(lease: Option<&Lease>, peer: SocketAddr) -> Option<SocketAddr> {
    let address = lease?.address?;
    let is_near = peer.ip().is_loopback() || !address.ip().is_loopback();
    (address.is_ipv4() == peer.is_ipv4() && is_near).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn records_the_observed_address() {
        let told = a("10.0.0.5:8283");
        assert_eq!(seen(told, a("10.0.0.9:1")), Some(a("10.0.0.9:8283")));
        assert_eq!(seen(told, a("127.0.0.1:1")), Some(told));
        assert_eq!(seen(told, a("[::1]:1")), None);
        assert_eq!(
            seen(a("[::ffff:10.0.0.5]:7"), a("127.0.0.1:1")),
            Some(a("10.0.0.5:7"))
        );
        assert_eq!(
            seen(a("0.0.0.0:7"), a("127.0.0.1:1")),
            Some(a("127.0.0.1:7"))
        );
        assert_eq!(seen(a("224.0.0.1:7"), a("127.0.0.1:1")), None);
    }

    #[test]
    fn returns_reachable_addresses_only() {
        let at = |text| {
            new(
                Some(a(text)),
                Speaks::Text,
                a("10.0.0.5:1").ip(),
                Duration::ZERO,
            )
        };
        let far = at("10.0.0.5:8283").expect("a lease");
        let near = at("127.0.0.1:8283").expect("a lease");
        assert_eq!(
            reachable(Some(&far), a("10.0.0.9:1")),
            Some(a("10.0.0.5:8283"))
        );
        assert_eq!(reachable(Some(&far), a("[fe80::1]:1")), None);
        assert_eq!(reachable(Some(&near), a("10.0.0.9:1")), None);
        assert_eq!(reachable(Some(&near), a("127.0.0.2:1")), near.address);
        assert_eq!(reachable(None, a("10.0.0.9:1")), None);
        let reserved = new(None, Speaks::Text, a("10.0.0.5:1").ip(), Duration::ZERO);
        assert_eq!(reachable(reserved.as_ref().ok(), a("10.0.0.9:1")), None);
    }
}
