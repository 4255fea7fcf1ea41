//! Asks the kernel which user of this machine has the other end of a TCP connection (sock_diag(7)).
//!
//! This needs no privileges. The answer is for accounting only, and no proof of identity: a process can pass a
//! connection to another user.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send,
    socket,
};

use super::socket::Stream;

/// The length of a message header, `struct nlmsghdr`.
const HEADER: usize = 16;
/// The length of a request, `struct inet_diag_req_v2`, and the offset of the socket's addresses in it.
const REQUEST: usize = 56;
const REQUEST_ID: usize = 8;
/// The offsets of the fields `idiag_state`, `idiag_uid` and `idiag_inode` in the answer, `struct inet_diag_msg`.
const STATE: usize = HEADER + 1;
const UID: usize = HEADER + 64;
const INODE: usize = HEADER + 68;
/// TCP_LISTEN of `net/tcp_states.h`.
const LISTENING: u8 = 10;
/// SOCK_DIAG_BY_FAMILY of `linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
/// The number of answers to earlier requests that one request skips.
const MOST_STALE: usize = 8;

/// The owner of the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A user of this machine, by its user ID.
    User(u32),
    /// This machine, but the client has closed its socket, so that its user is not known any more.
    Unknown,
    /// The kernel knows no such socket: the client runs elsewhere, or is gone.
    Elsewhere,
}

/// A socket for these requests. No call on it blocks.
#[derive(Debug)]
pub(crate) struct SocketDiagnosis {
    socket: OwnedFd,
    sequence: u32,
}

impl SocketDiagnosis {
    /// Opens the socket. A later sandbox need only allow to send and receive.
    ///
    /// # Errors
    /// Those of `socket(2)` and `connect(2)`: when the kernel or a sandbox does not allow it.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkSockDiag;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)?;
        // The kernel has the port 0. From now on, no other process can send to the socket.
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Returns the owner of the other end of the accepted connection `stream`, whose address is `peer`.
    ///
    /// # Errors
    /// When the kernel does not answer the request, or not at once.
    pub(crate) fn owner(&mut self, stream: &Stream, peer: SocketAddr) -> io::Result<Owner> {
        let Stream::Tcp(stream) = stream else {
            return Ok(Owner::Elsewhere);
        };
        let own = stream.local_addr()?;
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(self.sequence, peer, own);
        let fd = self.socket.as_fd().as_raw_fd();
        send(fd, &request, MsgFlags::MSG_DONTWAIT)?;
        // The kernel has queued the answer before send(2) returns.
        for _ in 0..=MOST_STALE {
            let mut answer = [0; 512];
            let len = recv(fd, &mut answer, MsgFlags::MSG_DONTWAIT)?;
            if let Some(owner) = parse(&answer[..len], self.sequence) {
                return owner;
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Builds the request for the TCP socket with the address `from` that is connected to `to`.
fn request(sequence: u32, from: SocketAddr, to: SocketAddr) -> [u8; HEADER + REQUEST] {
    let mut out = [0; HEADER + REQUEST];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    #[expect(clippy::cast_possible_truncation, reason = "it is 72")]
    put(0, &((HEADER + REQUEST) as u32).to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST.to_ne_bytes());
    put(8, &sequence.to_ne_bytes());
    let (from_ip, to_ip) = (from.ip().to_canonical(), to.ip().to_canonical());
    let family = if from_ip.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let family = u8::try_from(family).unwrap_or_default();
    let protocol = u8::try_from(libc::IPPROTO_TCP).unwrap_or_default();
    put(HEADER, &[family, protocol]);
    // All states of a connection.
    put(HEADER + 4, &u32::MAX.to_ne_bytes());
    let id = HEADER + REQUEST_ID;
    put(id, &from.port().to_be_bytes());
    put(id + 2, &to.port().to_be_bytes());
    for (at, ip) in [(id + 4, from_ip), (id + 20, to_ip)] {
        match ip {
            IpAddr::V4(ip) => put(at, &ip.octets()),
            IpAddr::V6(ip) => put(at, &ip.octets()),
        }
    }
    // Any interface; INET_DIAG_NOCOOKIE: any socket with these addresses.
    put(id + 40, &[0xff; 8]);
    out
}

/// Parses the answer to the request with this sequence number. Returns `None` for the answer to another one.
fn parse(answer: &[u8], sequence: u32) -> Option<io::Result<Owner>> {
    let word = |at: usize| {
        let bytes = answer.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    if word(8)? != sequence {
        return None;
    }
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind == BY_FAMILY {
        // Without a connection of these addresses, the kernel tells of a listener on the port.
        if answer.get(STATE) == Some(&LISTENING) {
            return Some(Ok(Owner::Elsewhere));
        }
        return Some(match (word(UID), word(INODE)) {
            // A socket that its process has closed has no inode, and the user ID 0 in place of the real one.
            (Some(_), Some(0)) => Ok(Owner::Unknown),
            (Some(uid), Some(_)) => Ok(Owner::User(uid)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        });
    }
    // An error, as a negative number.
    let error = word(HEADER).map_or(0, u32::cast_signed).wrapping_neg();
    Some(match error {
        libc::ENOENT => Ok(Owner::Elsewhere),
        error => Err(io::Error::from_raw_os_error(error)),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn accepted(listener: &TcpListener) -> (Stream, SocketAddr) {
        let (stream, peer) = listener.accept().expect("accepted");
        (Stream::Tcp(stream), peer)
    }

    #[test]
    fn the_owner_of_a_local_client_is_its_user() {
        // A sandbox may forbid these sockets.
        let Ok(mut diagnosis) = SocketDiagnosis::open() else {
            return;
        };
        let own = Owner::User(nix::unistd::geteuid().as_raw());
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let port = listener.local_addr().expect("bound").port();
            let host = if address.contains('1') {
                &address[..address.len() - 2]
            } else {
                "127.0.0.1"
            };
            let client = TcpStream::connect(format!("{host}:{port}")).expect("connected");
            let (stream, peer) = accepted(&listener);
            assert_eq!(diagnosis.owner(&stream, peer).expect("an answer"), own);
            // The user of a closed socket is not known, and it is not root.
            drop(client);
            let closed = diagnosis.owner(&stream, peer).expect("an answer");
            assert!(
                matches!(closed, Owner::Unknown | Owner::Elsewhere),
                "{closed:?}"
            );
            // Another program that listens on the port of a client from elsewhere is not this client.
            let other = TcpListener::bind(if address.contains('.') {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            });
            let Ok(other) = other else { continue };
            let nowhere = SocketAddr::new(
                "192.0.2.1".parse().expect("an address"),
                other.local_addr().expect("bound").port(),
            );
            let other = diagnosis.owner(&stream, nowhere).expect("an answer");
            assert_eq!(other, Owner::Elsewhere, "{address}");
        }
    }

    #[test]
    fn only_the_answer_to_the_request_counts() {
        let mut answer = [0; HEADER + 72];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        answer[UID..UID + 4].copy_from_slice(&1_000_u32.to_ne_bytes());
        let owner = |answer: &[u8], sequence| parse(answer, sequence).map(|owner| owner.ok());
        assert_eq!(owner(&answer, 7), Some(Some(Owner::Unknown)));
        answer[INODE] = 1;
        assert_eq!(owner(&answer, 7), Some(Some(Owner::User(1_000))));
        answer[STATE] = LISTENING;
        assert_eq!(owner(&answer, 7), Some(Some(Owner::Elsewhere)));
        answer[STATE] = 1;
        assert_eq!(owner(&answer, 6), None);
        assert_eq!(owner(&answer[..INODE], 7), Some(None));
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        answer[HEADER..HEADER + 4].copy_from_slice(&(-libc::ENOENT).to_ne_bytes());
        assert_eq!(owner(&answer, 7), Some(Some(Owner::Elsewhere)));
        answer[HEADER..HEADER + 4].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        assert_eq!(owner(&answer, 7), Some(None));
        for len in 0..HEADER - 4 {
            assert_eq!(owner(&answer[..len], 7), None, "{len}");
        }
    }
}
