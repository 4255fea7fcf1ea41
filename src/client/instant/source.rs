//! The local address for instant messages.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

/// The default port, which is that of the old client.
const DEFAULT_PORT: u16 = 8283;

/// The requested address and port, as far as they are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::client) struct SourceAddress {
    ip: Option<IpAddr>,
    port: Option<u16>,
}

/// Why the address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {0} for instant messages: {1}; choose another address with -s IP:PORT, or any free port with -s IP:0"
)]
pub(in crate::client) struct SourceError(SocketAddr, io::Error);

impl SourceAddress {
    /// Binds a socket. The default address is `our_side`, the local address of the connection to the server. If no port
    /// is set and the default port is in use, any free port is taken.
    ///
    /// # Errors
    /// The address is not local, or the requested port is in use.
    pub(in crate::client) fn bind(
        self,
        our_side: Option<IpAddr>,
    ) -> Result<UdpSocket, SourceError> {
        let ip = self.ip.or(our_side).unwrap_or(Ipv4Addr::LOCALHOST.into());
        let address = SocketAddr::new(ip, self.port.unwrap_or(DEFAULT_PORT));
        match UdpSocket::bind(address) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && self.port.is_none() => {
                let any = SocketAddr::new(ip, 0);
                UdpSocket::bind(any).map_err(|e| SourceError(any, e))
            }
            bound => bound.map_err(|e| SourceError(address, e)),
        }
    }
}

impl fmt::Display for SourceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.port) {
            (Some(ip), Some(port)) => SocketAddr::new(ip, port).fmt(f),
            (Some(ip), None) => ip.fmt(f),
            (None, _) => f.write_str("any"),
        }
    }
}

impl FromStr for SourceAddress {
    type Err = String;

    /// Parses `IP`, `IP:PORT` or `[IPV6]:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                ip: Some(address.ip()),
                port: Some(address.port()),
            });
        }
        match text.parse() {
            Ok(ip) => Ok(Self {
                ip: Some(ip),
                port: None,
            }),
            Err(_) => Err("expected IP, IP:PORT or [IPV6]:PORT".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_addresses_with_and_without_a_port() {
        let parse = |text: &str| text.parse::<SourceAddress>().map(|s| (s.ip, s.port));
        let ip = |text: &str| text.parse().ok();
        assert_eq!(parse("10.0.0.1"), Ok((ip("10.0.0.1"), None)));
        assert_eq!(parse("10.0.0.1:0"), Ok((ip("10.0.0.1"), Some(0))));
        assert_eq!(parse("::1"), Ok((ip("::1"), None)));
        assert_eq!(parse("[::1]:99"), Ok((ip("::1"), Some(99))));
        for wrong in ["", "localhost", "10.0.0.1:", "10.0.0.1:65536", ":99"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_requested_port_in_use_is_an_error() {
        let any: SourceAddress = "127.0.0.1:0".parse().expect("a source");
        let taken = any.bind(None).expect("a port").local_addr();
        let held = any.bind(None).expect("a port");
        let port = held.local_addr().expect("an address").port();
        assert!(taken.is_ok());
        let asked = SourceAddress {
            ip: None,
            port: Some(port),
        };
        let error = asked.bind(None).expect_err("taken").to_string();
        assert!(error.contains("-s IP:PORT"), "{error}");
        // The default port may be in use or not: a port is found in any case.
        let one = SourceAddress::default().bind(None).expect("a port");
        let two = SourceAddress::default().bind(None).expect("another port");
        assert_ne!(one.local_addr().ok(), two.local_addr().ok());
    }
}
