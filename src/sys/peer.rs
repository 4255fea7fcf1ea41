//! The peer of an accepted connection.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use arrayvec::ArrayString;

/// The peer of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A TCP client at this address.
    Inet(SocketAddr),
    /// A process of this machine, with the credentials that the kernel recorded when it connected.
    Local {
        /// Its user ID.
        uid: u32,
        /// Its PID.
        pid: i32,
    },
    /// A process that has connected to a socket whose clients have one name.
    Named {
        /// The index of the socket.
        socket: usize,
        /// Its user ID, possibly that of root in a container. It is not considered.
        uid: u32,
        /// Its PID.
        pid: i32,
    },
}

impl Peer {
    /// Returns the address of the peer; loopback with port 0 for a process of this machine.
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Self::Inet(address) => address,
            Self::Local { .. } | Self::Named { .. } => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }

    /// Returns this process as a client of the socket with this index, whose clients have one name.
    pub(crate) fn of_socket(self, socket: usize) -> Self {
        match self {
            Self::Local { uid, pid } => Self::Named { socket, uid, pid },
            other => other,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(SocketAddr::V4(address)) => f.write_str(&v4_text(*address)),
            Self::Inet(address) => address.fmt(f),
            Self::Local { uid, pid } | Self::Named { uid, pid, .. } => {
                write!(f, "uid {uid} (process {pid})")
            }
        }
    }
}

/// Formats an address and a port. Each child formats the address of its client. The standard library, which supports
/// width and padding, takes some 1,500 instructions for that.
fn v4_text(address: SocketAddrV4) -> ArrayString<{ "255.255.255.255:65535".len() }> {
    let mut text = ArrayString::new();
    let mut decimal = itoa::Buffer::new();
    let [a, b, c, d] = address.ip().octets().map(u16::from);
    for (number, mark) in [(a, "."), (b, "."), (c, "."), (d, ":"), (address.port(), "")] {
        // This cannot panic: the capacity is that of the longest address.
        text.push_str(decimal.format(number));
        text.push_str(mark);
    }
    text
}
