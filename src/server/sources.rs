//! The sources of connections, to which limits and penalties apply.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::sys::login::LoginDirectory;
use crate::sys::peer::Peer;
use crate::sys::sock_diag::{Owner, SocketDiagnosis};
use crate::sys::socket::Stream;

/// The unit to which limits and penalties apply: a user of this machine, an IPv4 address, an IPv6 network of 64 bits
/// (because addresses in it are cheap), or a socket whose clients have one name.
///
/// It is for fairness only. Who a client is, `principal` decides, and never by its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    V4(u32),
    /// The upper half of an IPv6 address.
    V6(u64),
    /// A uid, over TCP and over the Unix socket. The uids that are subordinate to a login count as the login.
    User(u32),
    /// The TCP clients of this machine whose user is not known.
    Machine,
    /// The index of a socket whose clients have one name.
    Socket(usize),
}

impl Source {
    /// Returns a number for this source, which is the same in all processes of a daemon.
    pub(super) fn number(self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Returns the source of a TCP client at this address that does not run on this machine.
    fn of_address(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => {
                let [upper @ .., _, _, _, _, _, _, _, _] = ip.octets();
                Self::V6(u64::from_be_bytes(upper))
            }
        }
    }
}

/// An accepted connection, as admission control sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    pub(super) peer: Peer,
    pub(super) source: Source,
}

impl Newcomer {
    pub(super) fn is_tcp(&self) -> bool {
        matches!(self.peer, Peer::Inet(_))
    }

    pub(super) fn is_root(&self) -> bool {
        matches!(self.peer, Peer::Local { uid: 0, .. })
    }

    /// Returns whether it is a TCP client from none of the networks that may make requests.
    pub(super) fn is_stranger(&self, open_networks: &[IpNet]) -> bool {
        match self.peer {
            Peer::Inet(address) => !is_in(address, open_networks),
            Peer::Local { .. } | Peer::Named { .. } => false,
        }
    }

    /// Returns whether it is never penalized: a client of a Unix socket, or an address in one of `networks`.
    pub(super) fn is_exempt(&self, networks: &[IpNet]) -> bool {
        match self.peer {
            Peer::Local { .. } | Peer::Named { .. } => true,
            Peer::Inet(address) => is_in(address, networks),
        }
    }
}

fn is_in(address: SocketAddr, networks: &[IpNet]) -> bool {
    let ip = address.ip().to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

/// Finds the source of a connection.
#[derive(Debug)]
pub(super) struct SourceFinder {
    /// `None` where the kernel does not tell whose a socket is.
    diagnosis: Option<SocketDiagnosis>,
}

impl SourceFinder {
    /// Opens a way to ask the kernel, which a sandbox may forbid later.
    pub(super) fn open() -> Self {
        let diagnosis = SocketDiagnosis::open();
        let diagnosis = diagnosis.inspect_err(|e| {
            log::info!(
                "the kernel does not tell which user a local TCP client is ({e}): all of them count as one source"
            );
        });
        Self {
            diagnosis: diagnosis.ok(),
        }
    }

    /// Returns the accepted connection from `peer` with its source. Does not block.
    pub(super) fn newcomer(
        &mut self,
        stream: &Stream,
        peer: Peer,
        logins: &LoginDirectory,
    ) -> Newcomer {
        let source = match peer {
            Peer::Local { uid, .. } => Source::User(logins.counted_as(uid)),
            Peer::Named { socket, .. } => Source::Socket(socket),
            Peer::Inet(address) => match self.owner(stream, address) {
                Owner::User(uid) => Source::User(logins.counted_as(uid)),
                Owner::Unknown => Source::Machine,
                Owner::Elsewhere if address.ip().to_canonical().is_loopback() => Source::Machine,
                Owner::Elsewhere => Source::of_address(address),
            },
        };
        Newcomer { peer, source }
    }

    fn owner(&mut self, stream: &Stream, peer: SocketAddr) -> Owner {
        let asked = self.diagnosis.as_mut();
        let owner = asked.and_then(|diagnosis| diagnosis.owner(stream, peer).ok());
        owner.unwrap_or(Owner::Elsewhere)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn source(text: &str) -> Source {
        Source::of_address(text.parse().expect("an address"))
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::ffff:2]:9"));
        assert_ne!(source("[2001:db8::1]:1"), source("[2001:db8:0:1::1]:1"));
        assert_ne!(source("10.0.0.1:1"), source("10.0.0.2:1"));
        assert_eq!(source("[::ffff:10.0.0.1]:1"), source("10.0.0.1:2"));
    }

    #[test]
    fn local_clients_are_one_source_where_the_kernel_does_not_tell_their_user() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound"));
        let _client = client.expect("connected");
        let (stream, peer) = listener.accept().expect("accepted");
        let stream = Stream::Tcp(stream);
        let logins = LoginDirectory::open().expect("opened");
        let mut blind = SourceFinder { diagnosis: None };
        let mut source = |peer: SocketAddr| {
            let newcomer = blind.newcomer(&stream, Peer::Inet(peer), &logins);
            newcomer.source
        };
        for address in [
            "127.0.0.1:1",
            "127.9.9.9:2",
            "[::1]:3",
            "[::ffff:127.0.0.1]:4",
        ] {
            assert_eq!(
                source(address.parse().expect("an address")),
                Source::Machine
            );
        }
        let other: SocketAddr = "10.0.0.1:5".parse().expect("an address");
        assert_eq!(source(other), Source::of_address(other));
        let mut finder = SourceFinder::open();
        if finder.diagnosis.is_some() {
            let uid = nix::unistd::geteuid().as_raw();
            let tcp = finder.newcomer(&stream, Peer::Inet(peer), &logins);
            let socket = finder.newcomer(&stream, Peer::Local { uid, pid: 1 }, &logins);
            assert_eq!(tcp.source, socket.source, "one user is one source");
        }
    }
}
