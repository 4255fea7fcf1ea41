//! Connections that this program makes itself, of either kind.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::MsgFlags;

use super::socket::Stream;

/// Connects to the socket at `path`.
///
/// # Errors
/// Those of `connect(2)`: `NotFound`, or `ConnectionRefused` where nobody listens any more.
pub(crate) fn to_path(path: &Path) -> io::Result<Stream> {
    UnixStream::connect(path).map(Stream::Unix)
}

/// Connects to `address`, which may take as long as `limit`. What is written is sent at once.
///
/// # Errors
/// Those of `connect(2)`; `TimedOut`.
pub(crate) fn to_address(address: &SocketAddr, limit: Duration) -> io::Result<Stream> {
    let stream = TcpStream::connect_timeout(address, limit)?;
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(stream))
}

impl Stream {
    /// How long one read, and one write, may take.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
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

    /// What a read would bring, which stays unread.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.as_fd().as_raw_fd();
        Ok(nix::sys::socket::recv(fd, buffer, MsgFlags::MSG_PEEK)?)
    }

    /// The address of ours that the other side sees: loopback for a process of this machine.
    pub(crate) fn our_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => Some(stream.local_addr().ok()?.ip()),
            Self::Unix(_) => Some(Ipv4Addr::LOCALHOST.into()),
        }
    }
}
