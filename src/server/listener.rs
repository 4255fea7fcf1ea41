//! The sockets that the master listens on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::config::Config;
use crate::sys::socket;

/// Why the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", hint(.source))]
pub(super) struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program has the port (or the address is named twice): end it, or choose one with -p"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for root",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        _ => "",
    }
}

/// Listens on all addresses of the configuration. Where the port is 0, the kernel chooses one for the
/// first address, and the others get the same.
///
/// # Errors
/// The first address that cannot be had.
pub(super) fn open(config: &Config) -> Result<Vec<TcpListener>, ListenError> {
    let mut port = config.port;
    let mut listeners = Vec::with_capacity(config.bind.len());
    for &ip in &config.bind {
        let address = SocketAddr::new(ip, port);
        let listener = listen(address).map_err(|source| ListenError { address, source })?;
        port = local_port(&listener);
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The port that a listener has.
pub(super) fn local_port(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

/// Where the kernel has no IPv6, all addresses are all IPv4 addresses.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match socket::listen(address) {
        Err(e)
            if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                && e.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
        {
            socket::listen(SocketAddr::new(
                Ipv4Addr::UNSPECIFIED.into(),
                address.port(),
            ))
        }
        result => result,
    }
}
