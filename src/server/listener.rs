//! The sockets that the daemon listens on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use super::config::{Config, NamedSocket};
use super::pending::{self, Pending, hint};
use super::pid_file;
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
    #[error("cannot make the socket {path} of a [[socket]]: {why}")]
    Named { path: PathBuf, why: String },
}

fn path_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidInput => {
            "; the path of a socket has at most 107 bytes: choose a shorter --run-dir"
        }
        _ => "",
    }
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: Listener,
    /// The index of its entry in the configuration, if all its clients have one name.
    pub(super) entry: Option<usize>,
}

impl From<Listener> for Bound {
    fn from(listener: Listener) -> Self {
        let entry = None;
        Self { listener, entry }
    }
}

/// The file of a Unix socket that this process has bound and must remove.
#[derive(Debug)]
pub(super) struct SocketFile {
    dir: Dir,
    name: String,
}

impl SocketFile {
    /// Removes the file.
    pub(super) fn remove(&self) {
        match self.dir.remove(&self.name) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                let path = self.dir.path_of(&self.name);
                log::warn!("cannot remove {}: {e}", path.display());
            }
            _ => {}
        }
    }
}

/// The listening sockets of the daemon.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) all: Vec<Bound>,
    /// Addresses that could not be used yet.
    pub(super) pending: Vec<Pending>,
    /// Whether all addresses must be there: the command line has chosen them.
    must_listen: bool,
    /// Whether the service manager made those without an entry. It also removes them.
    pub(super) inherited: bool,
}

/// Takes the sockets that the service manager passes (LISTEN_FDS of sd_listen_fds(3)). If it passes none, binds all
/// addresses of the configuration. With port 0, the kernel chooses a port for the first address, and the other
/// addresses use the same. Unless `must_listen`, an address that is not there yet or in use may wait.
///
/// # Errors
/// The first address that cannot be bound.
pub(super) fn bind(config: &Config, must_listen: bool) -> Result<Listeners, ListenError> {
    let inherited = socket::inherited_listeners().map_err(ListenError::Inherited)?;
    let mut listeners = Listeners {
        inherited: !inherited.is_empty(),
        all: inherited.into_iter().map(Bound::from).collect(),
        pending: Vec::new(),
        must_listen,
    };
    if listeners.inherited {
        return Ok(listeners);
    }
    let mut port = config.port;
    listeners
        .all
        .reserve_exact(config.bind.len() + 1 + config.socket.len());
    for &ip in &config.bind {
        let address = SocketAddr::new(ip, port);
        let failed = |source| ListenError::Address { address, source };
        let (socket, address) = unbound(address).map_err(failed)?;
        match socket::bind(&socket, address) {
            Ok(()) => {
                port = local_port(&socket);
                listeners.all.push(Listener::Tcp(socket).into());
            }
            Err(e) => listeners.wait_for(address, socket, false, e)?,
        }
    }
    // An address that waits needs a port as well.
    for pending in &mut listeners.pending {
        pending.address.set_port(port);
    }
    Ok(listeners)
}

impl Listeners {
    /// Lets an address that cannot be used yet wait.
    ///
    /// # Errors
    /// When it may not wait, or waiting does not help.
    fn wait_for(
        &mut self,
        address: SocketAddr,
        socket: TcpListener,
        is_bound: bool,
        why: io::Error,
    ) -> Result<(), ListenError> {
        if self.must_listen || !pending::is_temporary(&why) {
            let source = why;
            return Err(ListenError::Address { address, source });
        }
        let pending = Pending::new(address, socket, is_bound, &why);
        self.pending.push(pending);
        Ok(())
    }

    /// Listens on all sockets that this process has bound. Before that, the kernel refuses clients.
    ///
    /// # Errors
    /// The first socket that fails, for example because another program listens on the same port, and may not wait.
    pub(super) fn listen(&mut self, config: &Config) -> Result<(), ListenError> {
        for bound in std::mem::take(&mut self.all) {
            let is_ours = bound.entry.is_some() || !self.inherited;
            let listens = match is_ours {
                true => socket::listen(&bound.listener),
                false => Ok(()),
            };
            match (listens, bound) {
                (Ok(()), bound) => self.all.push(bound),
                (
                    Err(source),
                    Bound {
                        listener: Listener::Tcp(tcp),
                        ..
                    },
                ) => {
                    let address = tcp.local_addr();
                    let address = address.unwrap_or((config.bind[0], config.port).into());
                    self.wait_for(address, tcp, true, source)?;
                }
                (Err(source), bound) => {
                    let path = path_of(&bound, config);
                    return Err(ListenError::Path { path, source });
                }
            }
        }
        Ok(())
    }

    /// Binds the Unix sockets, adds their files to `files`, and leaves out that in the run directory if the service manager
    /// has passed sockets. Their directories may belong to the account that the daemon becomes, so this is not for root to
    /// do.
    ///
    /// # Errors
    /// When one cannot be bound. Those that were bound before are in `files`.
    pub(super) fn bind_sockets(
        &mut self,
        config: &Config,
        files: &mut Vec<SocketFile>,
    ) -> Result<(), ListenError> {
        if !self.inherited {
            let (listener, file) = bind_own(config).map_err(|source| ListenError::Path {
                path: config.run_dir.join(SOCKET),
                source,
            })?;
            self.all.push(listener.into());
            files.push(file);
        }
        for (index, entry) in config.socket.iter().enumerate() {
            let (listener, file) = bind_named(entry, files).map_err(|why| ListenError::Named {
                path: entry.path.clone(),
                why,
            })?;
            let entry = Some(index);
            self.all.push(Bound { listener, entry });
            files.push(file);
        }
        Ok(())
    }
}

/// Binds the socket in the run directory, which this process uses alone.
fn bind_own(config: &Config) -> io::Result<(Listener, SocketFile)> {
    let dir = Dir::open(&config.run_dir)?;
    let listener = Listener::Unix(socket::bind_in(&dir, SOCKET)?);
    let name = SOCKET.to_owned();
    Ok((listener, SocketFile { dir, name }))
}

/// Binds the socket of an entry, unless it is among those that are `bound`.
fn bind_named(entry: &NamedSocket, bound: &[SocketFile]) -> Result<(Listener, SocketFile), String> {
    let (dir, name) = (entry.path.parent(), entry.path.file_name());
    let (Some(dir), Some(name)) = (dir, name.and_then(|name| name.to_str())) else {
        return Err("the path names no file".into());
    };
    let open = || {
        let dir = Dir::open(dir)?;
        let mut distrust = pid_file::distrust(&dir)?;
        if dir.owner_and_mode()?.1 & 0o022 != 0 {
            // Even if it is sticky, others could make the socket first.
            distrust = distrust.or(Some("others may write there; use another directory".into()));
        }
        Ok::<_, io::Error>((dir, distrust))
    };
    let (dir, distrust) = open().map_err(|e| format!("its directory cannot be used: {e}"))?;
    if let Some(why) = distrust {
        return Err(format!("its directory cannot be trusted: {why}"));
    }
    let is_it = |file: &&SocketFile| file.name == name && file.dir.is(&dir).unwrap_or(true);
    if let Some(other) = bound.iter().find(is_it) {
        let path = other.dir.path_of(&other.name);
        return Err(format!("it is the same as {}", path.display()));
    }
    let listener = socket::bind_unused_in(&dir, name).map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens on it; end that, or change the path".into()
        }
        io::ErrorKind::PermissionDenied => {
            format!("{e}; the account of the daemon must be able to write to the directory")
        }
        _ => e.to_string(),
    })?;
    let name = name.to_owned();
    Ok((Listener::Unix(listener), SocketFile { dir, name }))
}

/// Returns the path of a Unix socket.
pub(super) fn path_of(bound: &Bound, config: &Config) -> PathBuf {
    let entry = bound.entry.and_then(|index| config.socket.get(index));
    entry.map_or_else(|| config.run_dir.join(SOCKET), |entry| entry.path.clone())
}

pub(super) fn local_port(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

/// Makes a socket for `address`, and returns both. If the kernel has no IPv6, `[::]` becomes 0.0.0.0.
fn unbound(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    match socket::unbound(address) {
        Err(e)
            if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                && e.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
        {
            let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            socket::unbound(address).map(|socket| (socket, address))
        }
        socket => socket.map(|socket| (socket, address)),
    }
}
