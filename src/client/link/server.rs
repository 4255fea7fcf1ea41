//! Connects to the server, and classifies failures and unexpected replies.

use std::io::{self, Write as _};
use std::net::ToSocketAddrs as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use super::address::SocketOrigin;
use super::{LinkError, Server};
use crate::client::message_view::MessageView;
use crate::message::Trust;
use crate::sys::connect;
use crate::sys::poll::{self, Want};
use crate::sys::socket::Stream;
use crate::wire::line;
use crate::wire::session::Message;

/// How long a server may be silent before the user is notified.
const SILENCE: Duration = Duration::from_secs(2);

/// How long to wait for a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// The limit for connecting to each address of the server.
    pub(super) connect: Duration,
    /// The limit for each read and write.
    pub(super) reply: Duration,
    /// Prints a notice when the server is silent.
    pub(super) notify: Option<fn(&str)>,
}

impl Timeouts {
    /// For requests of the user.
    pub(super) const REQUEST: Self = Self {
        connect: Duration::from_secs(10),
        reply: Duration::from_secs(30),
        notify: None,
    };
    /// For background work, such as sending queued messages.
    pub(super) const BACKGROUND: Self = Self {
        connect: Duration::from_secs(2),
        reply: Duration::from_secs(30),
        notify: None,
    };
    /// For requests whose result is useful only at once.
    pub(super) const SHORT: Self = Self {
        connect: Duration::from_secs(1),
        reply: Duration::from_secs(2),
        notify: None,
    };
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct ServerConnection {
    pub(super) stream: Stream,
    /// Whether the kernel proves that this is the server that the user means. Over TCP, any user of the server's machine
    /// may have taken the port.
    pub(super) is_verified: bool,
}

impl ServerConnection {
    /// Returns how far a sender can be trusted, according to the server's word for it.
    pub(super) fn trust(&self, word: Option<Trust>) -> Option<Trust> {
        match self.is_verified {
            true => word,
            false => Some(Trust::Open),
        }
    }

    /// Returns a message of the session dialect as it is shown.
    pub(super) fn view<'m>(&self, message: &'m Message<'_>) -> MessageView<'m> {
        MessageView {
            trust: self.trust(Some(message.trust)),
            ..MessageView::from(message)
        }
    }
}

impl Server {
    /// Connects, and sends `request`.
    ///
    /// # Errors
    /// [`LinkError::Unreachable`] and [`LinkError::Broken`].
    pub(super) fn ask(
        &self,
        request: &[u8],
        timeouts: Timeouts,
    ) -> Result<ServerConnection, LinkError> {
        let connection = self
            .connect(timeouts)
            .map_err(|e| LinkError::Unreachable(self.clone(), self.with_advice(e)))?;
        let stream = &connection.stream;
        stream
            .limit(timeouts.reply)
            .and_then(|()| (&*stream).write_all(request))
            .map_err(|e| self.broken(e))?;
        if let (Some(say), false) = (timeouts.notify, request.is_empty()) {
            let answered = poll::wait(&[(stream.as_fd(), Want::Read)], Some(SILENCE));
            if answered.is_ok_and(|ready| !ready.has(0)) {
                say(&format!("dropline: {self} does not answer yet"));
            }
        }
        Ok(connection)
    }

    /// Connects to the socket, or tries each address of the host in turn.
    fn connect(&self, timeouts: Timeouts) -> io::Result<ServerConnection> {
        let (host, port) = match self {
            Self::Socket { path, origin } => return connect_to_socket(path, *origin),
            Self::Port { host, port } => (host.as_str(), *port),
        };
        let mut error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (host, port).to_socket_addrs()? {
            match connect::to_address(&address, timeouts.connect) {
                Ok(stream) => {
                    return Ok(ServerConnection {
                        stream,
                        is_verified: false,
                    });
                }
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    /// Adds what to do to the error for a default socket on which no process listens.
    fn with_advice(&self, error: io::Error) -> io::Error {
        let is_absent = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        );
        match self {
            Self::Socket { origin, .. } if *origin != SocketOrigin::Named && is_absent => {
                let text = format!("{error}; start droplined, or name a server with -d");
                io::Error::new(error.kind(), text)
            }
            _ => error,
        }
    }

    /// Returns the error for a failed connection.
    pub(super) fn broken(&self, error: io::Error) -> LinkError {
        let error = match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "the server does not answer")
            }
            _ => error,
        };
        LinkError::Broken(self.clone(), error)
    }

    /// Returns the error for a connection that was closed before the reply.
    pub(super) fn ended(&self) -> LinkError {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the reply");
        LinkError::Broken(self.clone(), error)
    }

    /// Returns the error for a reply that ends after `heard`: `broken` if that may be the beginning of an answer, else
    /// that the peer is not a server.
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

    /// Returns the error for an unexpected reply in the line dialect.
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

/// Connects to a Unix socket, and checks who listens on it (SO_PEERCRED).
///
/// # Errors
/// Those of connect(2). A default socket on which a user listens who is not trusted is an error, too.
fn connect_to_socket(path: &Path, origin: SocketOrigin) -> io::Result<ServerConnection> {
    let stream = connect::to_path(path)?;
    let uid = stream.peer_user()?;
    let is_verified = origin.trusts(path, uid);
    if !is_verified && origin != SocketOrigin::Named {
        return Err(io::Error::other(format!(
            "uid {uid} listens on it, and not {}; nothing was sent",
            origin.expected(path)
        )));
    }
    Ok(ServerConnection {
        stream,
        is_verified,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_answer_is_a_broken_connection_and_other_bytes_are_not() {
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
        // A truncated refusal has an unknown reason, and the message was not accepted.
        let said = server.cut_off(b"Message declined. Not allowed", server.ended());
        assert!(matches!(said, LinkError::Later(_)), "{said}");
        let many = b"Message declined. Too many connections from your address\n";
        let said = server.understand(many);
        assert!(matches!(said, LinkError::Later(_)), "{said}");
    }

    #[test]
    fn the_code_of_a_refusal_decides_and_not_its_sentence() {
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
}
