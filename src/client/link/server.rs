//! Where the server is, and how it is reached.

use std::fmt;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::LinkError;
use crate::config::DEFAULTS;
use crate::sys::connect;
use crate::sys::poll::{self, Want};
use crate::sys::socket::Stream;
use crate::wire::line;

const DEFAULT_PORT: u16 = DEFAULTS.port;

/// For how long nothing is said while a server keeps quiet.
const SILENCE: Duration = Duration::from_secs(2);

/// How long one waits for a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For each address of the server, until it answers.
    pub(super) connect: Duration,
    /// In the middle of a reply.
    pub(super) reply: Duration,
    /// How somebody who waits is told for what, when the server keeps quiet.
    pub(super) word: Option<fn(&str)>,
}

impl Patience {
    /// For work that somebody has asked for.
    pub(super) const WORK: Self = Self {
        connect: Duration::from_secs(10),
        reply: Duration::from_secs(30),
        word: None,
    };
    /// For what was left over from earlier, while somebody waits for something else.
    pub(super) const ERRAND: Self = Self {
        connect: Duration::from_secs(2),
        reply: Duration::from_secs(30),
        word: None,
    };
    /// For a word of farewell.
    pub(super) const FAREWELL: Self = Self {
        connect: Duration::from_secs(1),
        reply: Duration::from_secs(2),
        word: None,
    };
}

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum Server {
    /// On a port, perhaps of another machine.
    Port {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// Behind a socket of this machine, where the kernel says who we are.
    Socket(PathBuf),
}

impl Server {
    /// The one that is meant where none is named, and there is no socket.
    pub(in crate::client) fn of_this_machine() -> Self {
        Self::Port {
            host: "localhost".into(),
            port: DEFAULT_PORT,
        }
    }

    /// The same host, with this port if one is given.
    pub(in crate::client) fn with_port(self, named: Option<u16>) -> Self {
        match (self, named) {
            (Self::Port { host, .. }, Some(port)) => Self::Port { host, port },
            (server, _) => server,
        }
    }

    /// A connection on which `request` was said.
    ///
    /// # Errors
    /// [`LinkError::Unreachable`] and [`LinkError::Broken`].
    pub(super) fn ask(&self, request: &[u8], patience: Patience) -> Result<Stream, LinkError> {
        let stream = self
            .connect(patience)
            .map_err(|e| LinkError::Unreachable(self.clone(), e))?;
        stream
            .limit(patience.reply)
            .and_then(|()| (&stream).write_all(request))
            .map_err(|e| self.broken(e))?;
        if let (Some(say), false) = (patience.word, request.is_empty()) {
            let answered = poll::wait(&[(stream.as_fd(), Want::Read)], Some(SILENCE));
            if answered.is_ok_and(|ready| !ready.has(0)) {
                say(&format!("dropline: {self} does not answer yet"));
            }
        }
        Ok(stream)
    }

    /// Connects to the socket, or tries each address of the host in turn.
    fn connect(&self, patience: Patience) -> io::Result<Stream> {
        let (host, port) = match self {
            Self::Socket(path) => return connect::to_path(path),
            Self::Port { host, port } => (host.as_str(), *port),
        };
        let mut error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (host, port).to_socket_addrs()? {
            match connect::to_address(&address, patience.connect) {
                Ok(stream) => return Ok(stream),
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    /// The address of ours from which the kernel would speak to the server, whether that lives or not.
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
            // Connecting such a socket sends nothing.
            let socket = UdpSocket::bind((any, 0)).ok()?;
            socket.connect(address).ok()?;
            Some(socket.local_addr().ok()?.ip())
        })
    }

    /// What it means that the connection fails.
    pub(super) fn broken(&self, error: io::Error) -> LinkError {
        let error = match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "it does not answer")
            }
            _ => error,
        };
        LinkError::Broken(self.clone(), error)
    }

    /// What it means that the connection ends too early.
    pub(super) fn ended(&self) -> LinkError {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before the reply");
        LinkError::Broken(self.clone(), error)
    }

    /// What it means that nothing comes after `heard`: that is the beginning of an answer, or the answer of something
    /// else.
    pub(super) fn cut_off(&self, heard: &[u8], broken: LinkError) -> LinkError {
        const ANSWERS: [&[u8]; 8] = [
            line::ACCEPTED,
            line::RETRIEVING,
            line::NO_MORE,
            line::NO_SUCH_NAME,
            line::DECLINED.as_bytes(),
            line::INTERNAL_ERROR,
            b"OK ",
            b"ERR ",
        ];
        let is_answer = |answer: &&[u8]| {
            let is_in_session = answer.ends_with(b" ") && heard.starts_with(answer);
            answer.starts_with(heard) || is_in_session
        };
        match self.understand(heard) {
            LinkError::NotAServer(_) if ANSWERS.iter().any(is_answer) => broken,
            LinkError::Broken(..) => broken,
            meant => meant,
        }
    }

    /// What a reply in the line dialect means that is not the one we hoped for.
    pub(super) fn understand(&self, reply: &[u8]) -> LinkError {
        if reply.is_empty() {
            return self.ended();
        }
        if reply == line::INTERNAL_ERROR {
            return LinkError::ServerFailed(self.clone());
        }
        match line::decode_refusal(reply) {
            Some((code, sentence)) => LinkError::refused(code, &sentence),
            None => LinkError::NotAServer(self.clone()),
        }
    }
}

impl FromStr for Server {
    type Err = String;

    /// `HOST`, `HOST:PORT`, `[IPV6]:PORT`, `IPV6`, or a path, which has a `/`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return Ok(Self::Socket(text.into()));
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
            Self::Socket(path) => path.display().fmt(f),
            Self::Port { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Port { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_in_several_ways() {
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
    fn what_is_cut_off_was_an_answer_or_was_none() {
        let server: Server = "127.0.0.1:9".parse().expect("a server");
        for answer in ["", "Message acc", "Retrieving", "OK dropl", "ER"] {
            let cut = server.cut_off(answer.as_bytes(), server.ended());
            assert!(matches!(cut, LinkError::Broken(..)), "{answer:?}: {cut}");
        }
        for garbage in ["x", "hello", "\n", "\0\0"] {
            let cut = server.cut_off(garbage.as_bytes(), server.ended());
            assert!(
                matches!(cut, LinkError::NotAServer(_)),
                "{garbage:?}: {cut}"
            );
        }
        // Nothing was accepted, and what else it would have said is not known.
        let said = server.cut_off(b"Message declined. Not allowed", server.ended());
        assert!(matches!(said, LinkError::Later(_)), "{said}");
        let many = b"Message declined. Too many connections from your address\n";
        let said = server.understand(many);
        assert!(matches!(said, LinkError::Later(_)), "{said}");
    }

    #[test]
    fn what_a_refusal_means_does_not_depend_on_its_sentence() {
        let server: Server = "127.0.0.1:9".parse().expect("a server");
        for declined in line::every_refusal() {
            let means = server.understand(declined.reply().as_bytes());
            let later = matches!(means, LinkError::Later(_));
            assert_eq!(later, declined.code().later_helps(), "{means}");
        }
        let full = line::Declined::from(line::Refusal::MailboxFull).reply();
        let means = server.understand(full.as_bytes());
        assert!(matches!(means, LinkError::Later(_)), "{means}");
    }

    #[test]
    fn our_side_of_loopback_is_loopback() {
        let server: Server = "127.0.0.1:9".parse().expect("a server");
        assert_eq!(
            server.our_side(),
            Some(std::net::Ipv4Addr::LOCALHOST.into())
        );
    }
}
