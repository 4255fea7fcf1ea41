//! Outgoing connections, TCP and Unix.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{MsgFlags, getsockopt};

use super::socket::Stream;

/// Connects to the Unix socket at `path`.
///
/// # Errors
/// Those of `connect(2)`: `NotFound` when there is no socket, `ConnectionRefused` when no process listens on it.
pub(crate) fn to_path(path: &Path) -> io::Result<Stream> {
    UnixStream::connect(path).map(Stream::Unix)
}

/// Connects to `address` within `limit`. The stream sends each write at once (TCP_NODELAY).
///
/// # Errors
/// Those of `connect(2)`; `TimedOut` after `limit`.
pub(crate) fn to_address(address: &SocketAddr, limit: Duration) -> io::Result<Stream> {
    let stream = TcpStream::connect_timeout(address, limit)?;
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(stream))
}

impl Stream {
    /// Sets the timeout of each read and each write (SO_RCVTIMEO, SO_SNDTIMEO).
    pub(crate) fn limit(&self, limit: Duration) -> io::Result<()> {
        let limit = Some(limit);
        match self {
            Self::Tcp(stream) => stream
                .set_read_timeout(limit)
                .and_then(|()| stream.set_write_timeout(limit)),
            Self::Unix(stream) => stream
                .set_read_timeout(limit)
                .and_then(|()| stream.set_write_timeout(limit)),
        }
    }

    /// Copies received bytes into `buffer` without consuming them (MSG_PEEK), and returns their number.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.as_fd().as_raw_fd();
        Ok(nix::sys::socket::recv(fd, buffer, MsgFlags::MSG_PEEK)?)
    }

    /// Returns the user ID of the process that listens on the Unix socket, as the kernel recorded it at listen(2)
    /// (SO_PEERCRED).
    ///
    /// # Errors
    /// Those of `getsockopt(2)`; a TCP connection has no user.
    pub(crate) fn peer_user(&self) -> io::Result<u32> {
        match self {
            Self::Tcp(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Unix(stream) => Ok(getsockopt(stream, PeerCredentials)?.uid()),
        }
    }

    /// Returns the local address that the peer sees; loopback for a Unix socket.
    pub(crate) fn our_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => Some(stream.local_addr().ok()?.ip()),
            Self::Unix(_) => Some(Ipv4Addr::LOCALHOST.into()),
        }
    }
}
