//! The address of a server: a host and a port, or a Unix socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::config::{DEFAULTS, DefaultPaths, SOCKET};
use crate::sys::dir::Dir;
use crate::sys::{login, own_path};

const DEFAULT_PORT: u16 = DEFAULTS.port;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum Server {
    /// A TCP port.
    Port {
        /// A host name or an IP address.
        host: String,
        port: u16,
    },
    /// A Unix socket on this machine, where the server identifies the client by its login.
    Socket { path: PathBuf, origin: SocketOrigin },
}

/// Where the path of a socket comes from. Decides which users may listen on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum SocketOrigin {
    /// The user has named it.
    Named,
    /// It is the default socket of the system's daemon.
    System,
    /// It is the default socket of a daemon that this user runs.
    Own,
}

impl SocketOrigin {
    /// Returns whether the server on the socket at `path`, which the user `uid` runs, is the one that the user of this
    /// client means.
    pub(super) fn trusts(self, path: &Path, uid: u32) -> bool {
        // A server of root could be replaced by root only.
        uid == 0
            || match self {
                Self::Own => uid == Dir::own_user(),
                Self::System => owner_of_the_directory(path) == Some(uid),
                Self::Named => uid == Dir::own_user() || owner_of_the_directory(path) == Some(uid),
            }
    }

    /// Describes the users whom [`trusts`](Self::trusts) accepts, for an error message.
    pub(super) fn expected(self, path: &Path) -> String {
        let own = Dir::own_user();
        match (self, owner_of_the_directory(path)) {
            (Self::Own, _) | (_, None) => format!("root or you (uid {own})"),
            (_, Some(owner)) => format!("root or the owner of its directory (uid {owner})"),
        }
    }
}

/// Returns the owner of the directory of a socket. `None` if it is reached through a symbolic link of another user, who
/// could exchange it.
fn owner_of_the_directory(path: &Path) -> Option<u32> {
    own_path::owner(path.parent()?).ok()
}

impl Server {
    /// Returns the default if no server is configured: the socket of the system's daemon wherever its directory exists,
    /// whether or not it runs, else that of a daemon that this user runs. Never a TCP port, which any user of the
    /// machine could listen on.
    pub(in crate::client) fn of_this_machine() -> Self {
        let system = Path::new(DEFAULTS.run_dir);
        let own = match system.is_dir() || login::is_root() {
            true => None,
            false => DefaultPaths::of_this_user(),
        };
        match own {
            Some(paths) => Self::Socket {
                path: paths.run_dir.join(SOCKET),
                origin: SocketOrigin::Own,
            },
            None => Self::Socket {
                path: system.join(SOCKET),
                origin: SocketOrigin::System,
            },
        }
    }

    /// Replaces the port, if one is given. A socket is returned unchanged.
    pub(in crate::client) fn with_port(self, named: Option<u16>) -> Self {
        match (self, named) {
            (Self::Port { host, .. }, Some(port)) => Self::Port { host, port },
            (server, _) => server,
        }
    }

    /// Returns the local IP address that the kernel would use to reach the server. The server need not be running.
    pub(super) fn our_side(&self) -> Option<IpAddr> {
        let Self::Port { host, port } = self else {
            return Some(Ipv4Addr::LOCALHOST.into());
        };
        let mut addresses = (host.as_str(), *port).to_socket_addrs().ok()?;
        addresses.find_map(|address| {
            let any: IpAddr = match address {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            };
            // connect(2) on a UDP socket sends no packet.
            let socket = UdpSocket::bind((any, 0)).ok()?;
            socket.connect(address).ok()?;
            Some(socket.local_addr().ok()?.ip())
        })
    }
}

impl FromStr for Server {
    type Err = String;

    /// Parses `HOST`, `HOST:PORT`, `[IPV6]:PORT`, `IPV6`, or a path, which contains a `/`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return Ok(Self::Socket {
                path: text.into(),
                origin: SocketOrigin::Named,
            });
        }
        let bare = |host: &str| (host.to_owned(), None);
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or("a ']' is missing")?;
            match rest.strip_prefix(':') {
                Some(port) => (host.to_owned(), Some(port)),
                None if rest.is_empty() => bare(host),
                None => return Err("only a ':' and the port may follow the ']'".into()),
            }
        } else {
            match text.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    text.parse::<std::net::Ipv6Addr>()
                        .map_err(|_| "an IPv6 address with a port is written [ADDRESS]:PORT")?;
                    bare(text)
                }
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => bare(text),
            }
        };
        if host.is_empty() {
            return Err("the host is empty".into());
        }
        let port = match port {
            Some(port) => port
                .parse()
                .map_err(|_| format!("'{port}' is not a port"))?,
            None => DEFAULT_PORT,
        };
        Ok(Self::Port { host, port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { path, .. } => path.display().fmt(f),
            Self::Port { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Port { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_hosts_ports_and_paths() {
        let name = |text: &str| text.parse::<Server>().map(|s| s.to_string());
        assert_eq!(name("localhost"), Ok("localhost:8282".into()));
        assert_eq!(name("10.0.0.1:99"), Ok("10.0.0.1:99".into()));
        assert_eq!(name("::1"), Ok("[::1]:8282".into()));
        assert_eq!(name("[::1]:99"), Ok("[::1]:99".into()));
        assert_eq!(name("./a.sock"), Ok("./a.sock".into()));
        for wrong in [
            "",
            ":99",
            "host:",
            "host:x",
            "host:65536",
            "[::1",
            "[::1]x",
            "::1:20001",
        ] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_local_address_for_loopback_is_loopback() {
        let server: Server = "127.0.0.1:9".parse().expect("a server");
        assert_eq!(
            server.our_side(),
            Some(std::net::Ipv4Addr::LOCALHOST.into())
        );
    }
}
