//! A connection to the server: a fresh one for each request.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use crate::name::Name;
use crate::wire::line::{self, Fetched, Unsayable};

const DEFAULT_PORT: u16 = 8282;
/// How long each address of the server has to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the server may be silent in the middle of a reply.
const REPLY: Duration = Duration::from_secs(30);
/// The most bytes of a reply that is a line.
const LONGEST_LINE: u64 = 1024;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: u16,
}

impl Server {
    /// The same host, with this port if one is given.
    pub(super) fn with_port(self, port: Option<u16>) -> Self {
        Self {
            port: port.unwrap_or(self.port),
            ..self
        }
    }
}

impl FromStr for Server {
    type Err = String;

    /// `HOST`, `HOST:PORT`, `[IPV6]:PORT` or `IPV6`.
    fn from_str(text: &str) -> Result<Self, String> {
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
        Ok(Self { host, port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// There is no server, or none that answers.
    #[error("cannot reach the server {0}: {1}")]
    Unreachable(Server, io::Error),
    /// The connection broke in the middle.
    #[error("the connection to the server {0} broke: {1}")]
    Broken(Server, io::Error),
    /// The connection broke after a message was handed over.
    #[error(
        "the connection to the server {0} broke: {1}; it is not known whether it has the message"
    )]
    Unknown(Server, io::Error),
    /// The server does not do it, and says why.
    #[error("the server does not accept it: {0}")]
    Refused(String),
    /// The server says that it has failed.
    #[error("the server {0} has failed; its log says why")]
    ServerFailed(Server),
    /// What answers does not speak our protocol.
    #[error("what answers at {0} is not a dropline server")]
    NotAServer(Server),
    /// The message cannot be said in the dialect.
    #[error("{0}")]
    Unsayable(#[from] Unsayable),
    /// What was read could not be written where it should go.
    #[error("cannot write: {0}; the messages stay waiting")]
    Output(io::Error),
}

/// A piece of a mailbox, as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// The first line of a message.
    First {
        /// Who sent it.
        from: &'a [u8],
        /// The line.
        text: &'a [u8],
    },
    /// A further line of it.
    Further(&'a [u8]),
}

/// What takes the messages that are read.
pub(super) trait Sink {
    /// Takes a piece.
    ///
    /// # Errors
    /// Then nothing more is read, and all messages stay waiting.
    fn take(&mut self, piece: &Piece<'_>) -> io::Result<()>;

    /// Brings all that was taken to where it belongs. After this, the messages leave the queue.
    ///
    /// # Errors
    /// Then they stay waiting.
    fn finish(&mut self) -> io::Result<()>;
}

impl Server {
    /// Hands a message to the server. When this returns, it is on the server's disk.
    ///
    /// # Errors
    /// It was not accepted, or it is not known whether it was ([`LinkError::Unknown`]).
    pub(super) fn store(&self, to: &Name, from: &Name, body: &[u8]) -> Result<(), LinkError> {
        let request = line::encode_store(to, from, body)?;
        let stream = self.ask(&request)?;
        let mut reply = Vec::new();
        // Every reply to a store is one line, or ends with the stream.
        let mut stream = BufReader::new(stream).take(LONGEST_LINE);
        let read = stream.read_until(b'\n', &mut reply);
        let understood = match read {
            Ok(_) if reply == line::ACCEPTED => return Ok(()),
            Ok(_) => self.understand(&reply),
            Err(e) => self.broken(e),
        };
        Err(match understood {
            LinkError::Broken(server, error) => LinkError::Unknown(server, error),
            error => error,
        })
    }

    /// Reads what waits for `of` into `sink`; `false` when there is no such mailbox.
    ///
    /// Each message is taken out of the kernel only after the sink has it, and the end of the reply
    /// only after the sink has finished. If this process dies before, the kernel resets the connection
    /// (something is unread), and the server keeps the messages.
    ///
    /// # Errors
    /// The messages stay waiting.
    pub(super) fn fetch(&self, of: &Name, sink: &mut dyn Sink) -> Result<bool, LinkError> {
        let stream = self.ask(&line::encode_fetch(of))?;
        let mut reply = Reply {
            server: self,
            stream,
            begun: Vec::new(),
            headed: false,
        };
        let mut peeked = vec![0; 64 * 1024];
        loop {
            let n = reply.stream.peek(&mut peeked).map_err(|e| self.broken(e))?;
            if n == 0 {
                return Err(self.understand(&reply.begun));
            }
            if let Some(found) = reply.step(&peeked[..n], of, sink)? {
                return Ok(found);
            }
        }
    }

    fn ask(&self, request: &[u8]) -> Result<TcpStream, LinkError> {
        let mut stream = self
            .connect()
            .map_err(|e| LinkError::Unreachable(self.clone(), e))?;
        stream
            .set_read_timeout(Some(REPLY))
            .and_then(|()| stream.set_write_timeout(Some(REPLY)))
            .and_then(|()| stream.write_all(request))
            .map_err(|e| self.broken(e))?;
        Ok(stream)
    }

    /// Tries each address of the host in turn.
    fn connect(&self) -> io::Result<TcpStream> {
        let mut error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => return Ok(stream),
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    fn broken(&self, error: io::Error) -> LinkError {
        let error = match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "it does not answer")
            }
            _ => error,
        };
        LinkError::Broken(self.clone(), error)
    }

    /// What a reply means that is not the one we hoped for.
    fn understand(&self, reply: &[u8]) -> LinkError {
        if reply.is_empty() {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before the reply");
            return LinkError::Broken(self.clone(), error);
        }
        if reply == line::INTERNAL_ERROR {
            return LinkError::ServerFailed(self.clone());
        }
        let text = String::from_utf8_lossy(reply);
        let known = ["No verb", "No reciever", "No sender", "No message"];
        if let Some(reason) = reply.strip_prefix(line::DECLINED) {
            LinkError::Refused(String::from_utf8_lossy(reason).trim_end().to_owned())
        } else if known.contains(&text.trim_end()) {
            LinkError::Refused(text.trim_end().to_owned())
        } else {
            LinkError::NotAServer(self.clone())
        }
    }
}

/// The reply to a fetch, as far as it has been read.
struct Reply<'s> {
    server: &'s Server,
    stream: TcpStream,
    /// A line of which the end has not come yet.
    begun: Vec<u8>,
    /// Whether the first line of the reply was there.
    headed: bool,
}

impl Reply<'_> {
    /// Works on what is to be read next, and reads it; returns whether there is such a mailbox, when
    /// that is the end of the reply.
    fn step(
        &mut self,
        next: &[u8],
        of: &Name,
        sink: &mut dyn Sink,
    ) -> Result<Option<bool>, LinkError> {
        if let Some(end) = memchr::memrchr(b'\n', next) {
            let text = [self.begun.as_slice(), &next[..end]].concat();
            for line in text.split(|&b| b == b'\n') {
                self.line(line, of, sink)?;
            }
            self.begun.clear();
            self.consume(end + 1)?;
            return Ok(None);
        }
        let whole = [self.begun.as_slice(), next].concat();
        let found = match whole.as_slice() {
            line::NO_MORE => true,
            line::NO_SUCH_NAME => false,
            _ => {
                self.consume(next.len())?;
                self.begun = whole;
                return Ok(None);
            }
        };
        if !self.headed {
            return Err(LinkError::NotAServer(self.server.clone()));
        }
        sink.finish().map_err(LinkError::Output)?;
        self.consume(next.len())?;
        Ok(Some(found))
    }

    fn line(&mut self, line: &[u8], of: &Name, sink: &mut dyn Sink) -> Result<(), LinkError> {
        if !self.headed {
            if Some(line) != line::RETRIEVING.strip_suffix(b"\n") {
                return Err(self.server.understand(line));
            }
            self.headed = true;
            return Ok(());
        }
        let piece = match line::decode_fetched(line, of) {
            Fetched::Message { from, text } => Piece::First { from, text },
            Fetched::More(text) => Piece::Further(text),
            Fetched::Other => return Err(LinkError::NotAServer(self.server.clone())),
        };
        sink.take(&piece).map_err(LinkError::Output)
    }

    fn consume(&mut self, len: usize) -> Result<(), LinkError> {
        let mut bytes = vec![0; len];
        self.stream
            .read_exact(&mut bytes)
            .map_err(|e| self.server.broken(e))
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
}
