//! Where a connection comes from.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use arrayvec::ArrayString;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// This address.
    Inet(SocketAddr),
    /// A process of this machine, which ran for this user when it connected: the kernel says so.
    Local {
        /// The user's number.
        uid: u32,
        /// The process's number.
        pid: i32,
    },
}

impl Peer {
    /// The address that stands for it: loopback for a process of this machine.
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Self::Inet(address) => address,
            Self::Local { .. } => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(SocketAddr::V4(address)) => f.write_str(&v4_text(*address)),
            Self::Inet(address) => address.fmt(f),
            Self::Local { uid, pid } => write!(f, "uid {uid} (process {pid})"),
        }
    }
}

/// An address and a port as everybody writes them. Each child says where its client comes from, and the formatting of
/// the standard library, which asks how wide it shall be, took it some 1,500 instructions.
fn v4_text(address: SocketAddrV4) -> ArrayString<{ "255.255.255.255:65535".len() }> {
    let mut text = ArrayString::new();
    let mut decimal = itoa::Buffer::new();
    let [a, b, c, d] = address.ip().octets().map(u16::from);
    for (number, mark) in [(a, "."), (b, "."), (c, "."), (d, ":"), (address.port(), "")] {
        // There is room for the longest.
        text.push_str(decimal.format(number));
        text.push_str(mark);
    }
    text
}
