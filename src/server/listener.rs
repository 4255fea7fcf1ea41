//! The sockets that the daemon listens on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use super::config::Config;
use crate::config::SOCKET;
use crate::sys::dir::Dir;
use crate::sys::socket::{self, Listener};

/// Why the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    #[error("cannot listen on {address}: {source}{}", hint(.source))]
    Address {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot listen on the sockets that the service manager has passed: {0}")]
    Inherited(io::Error),
    #[error("cannot listen on {path}: {source}{}", path_hint(.source))]
    Path { path: PathBuf, source: io::Error },
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

/// The listening sockets of the daemon.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) all: Vec<Listener>,
    /// Whether the service manager made them. It also removes them.
    pub(super) inherited: bool,
}

/// Takes the sockets that the service manager passes (LISTEN_FDS of sd_listen_fds(3)). If it passes none, binds all
/// addresses of the configuration. With port 0, the kernel chooses a port for the first address, and the other
/// addresses use the same.
///
/// # Errors
/// The first address that cannot be bound.
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
    let inherited = false;
    Ok(Listeners { all, inherited })
}

impl Listeners {
    /// Binds the Unix socket in the run directory. The directory may belong to the account that the daemon becomes, so
    /// this is not for root to do.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub(super) fn bind_socket_in(&mut self, run_dir: &Dir) -> Result<(), ListenError> {
        let listener = socket::bind_in(run_dir, SOCKET).map_err(|source| ListenError::Path {
            path: run_dir.path_of(SOCKET),
            source,
        })?;
        self.all.push(Listener::Unix(listener));
        Ok(())
    }
}

/// Listens on all sockets that [`bind`] has bound. Before that, the kernel refuses clients.
///
/// # Errors
/// The first socket that fails, for example because another program listens on the same port.
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

/// Removes the socket in the run directory, which this process must have bound.
pub(super) fn remove_socket(run_dir: &Dir) {
    match run_dir.remove(SOCKET) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            log::warn!("cannot remove {}: {e}", run_dir.path_of(SOCKET).display());
        }
        _ => {}
    }
}

pub(super) fn local_port(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

/// Binds `address`. If the kernel has no IPv6, `[::]` becomes 0.0.0.0.
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
