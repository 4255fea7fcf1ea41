//! The sockets that the master listens on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use super::config::Config;
use crate::config::SOCKET;
use crate::sys::socket::{self, Listener};

/// Why the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    /// Not on a port.
    #[error("cannot listen on {address}: {source}{}", hint(.source))]
    Address {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// What the service manager has handed over is of no use.
    #[error("cannot listen on what the service manager has handed over: {0}")]
    Inherited(io::Error),
    /// Not on the socket.
    #[error("cannot listen on {path}: {source}{}", path_hint(.source))]
    Path {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn path_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidInput => {
            "; the path of a socket has at most 107 bytes: choose a shorter --run-dir"
        }
        _ => "",
    }
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

/// The sockets of the daemon.
#[derive(Debug)]
pub(super) struct Listeners {
    /// The sockets.
    pub(super) all: Vec<Listener>,
    /// Whether the service manager has made them, and removes them when it wants to.
    pub(super) inherited: bool,
}

/// Takes what the service manager hands over (LISTEN_FDS of sd_listen_fds(3)), and only that. Where there is nothing,
/// binds sockets to all addresses of the configuration, and one in the run directory. Where the port is 0, the kernel
/// chooses one for the first address, and the others get the same.
///
/// # Errors
/// The first address that cannot be had.
pub(super) fn bind(config: &Config) -> Result<Listeners, ListenError> {
    let all = socket::inherited_listeners().map_err(ListenError::Inherited)?;
    if !all.is_empty() {
        let inherited = true;
        return Ok(Listeners { all, inherited });
    }
    let mut port = config.port;
    let mut all = Vec::with_capacity(config.bind.len() + 1);
    for &ip in &config.bind {
        let address = SocketAddr::new(ip, port);
        let listener =
            bind_to(address).map_err(|source| ListenError::Address { address, source })?;
        port = local_port(&listener);
        all.push(Listener::Tcp(listener));
    }
    let path = config.run_dir.join(SOCKET);
    let listener = socket::bind_at(&path).map_err(|source| ListenError::Path { path, source })?;
    all.push(Listener::Unix(listener));
    let inherited = false;
    Ok(Listeners { all, inherited })
}

/// Listens on all that were bound. Before that, the kernel refuses clients.
///
/// # Errors
/// The first one on which that fails: another program may have bound the same port, and listens already.
pub(super) fn listen(listeners: &Listeners, config: &Config) -> Result<(), ListenError> {
    let bound = listeners.all.iter().filter(|_| !listeners.inherited);
    for listener in bound {
        socket::listen(listener).map_err(|source| match listener {
            Listener::Tcp(tcp) => ListenError::Address {
                address: tcp
                    .local_addr()
                    .unwrap_or((config.bind[0], config.port).into()),
                source,
            },
            Listener::Unix(_) => ListenError::Path {
                path: config.run_dir.join(SOCKET),
                source,
            },
        })?;
    }
    Ok(())
}

/// Removes the socket in the run directory, which must be our own: it is not answered any more.
pub(super) fn remove_socket(config: &Config) {
    let path = config.run_dir.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            log::warn!("cannot remove {}: {e}", path.display());
        }
        _ => {}
    }
}

/// The port that a listener has.
pub(super) fn local_port(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

/// Where the kernel has no IPv6, all addresses are all IPv4 addresses.
fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    match socket::bind(address) {
        Err(e)
            if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                && e.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
        {
            socket::bind(SocketAddr::new(
                Ipv4Addr::UNSPECIFIED.into(),
                address.port(),
            ))
        }
        result => result,
    }
}
