//! The line dialect: one request and one reply per connection. It has mailboxes, but no presence.

use std::io::{BufRead, BufReader, Read};

use super::server::{ServerConnection, Timeouts};
use super::{LinkError, MessagePiece, MessageSink, Server};
use crate::name::Name;
use crate::wire::line::{self, Fetched};

/// The maximum length of a reply to a store, in bytes.
const LONGEST_LINE: u64 = 1024;

/// Stores a message on the server, durably.
///
/// # Errors
/// The server did not accept the message, or it is unknown whether it did ([`LinkError::Unknown`]).
pub(super) fn store(server: &Server, to: &Name, from: &Name, body: &[u8]) -> Result<(), LinkError> {
    let request = line::encode_store(to, from, body)?;
    let ServerConnection { stream, .. } = server.ask(&request, Timeouts::REQUEST)?;
    let mut reply = Vec::new();
    // A reply is one line; the newline may be missing at the end of the stream.
    let mut stream = BufReader::new(&stream).take(LONGEST_LINE);
    let read = stream.read_until(b'\n', &mut reply);
    let understood = match read {
        Ok(_) if reply == line::ACCEPTED => return Ok(()),
        Ok(_) => server.cut_off(&reply, server.ended()),
        Err(e) => server.cut_off(&reply, server.broken(e)),
    };
    Err(match understood {
        LinkError::Broken(server, error) => LinkError::Unknown(server, error),
        error => error,
    })
}

/// Reads the messages waiting for `of` into `sink`. Returns `false` if the mailbox does not exist.
///
/// Messages are peeked, and consumed from the socket only after the sink has taken them, the end of the reply only
/// after the sink has finished. If this process dies earlier, the kernel resets the connection because data is unread,
/// and the server keeps the messages.
///
/// # Errors
/// The messages stay waiting.
pub(super) fn fetch(
    server: &Server,
    of: &Name,
    sink: &mut dyn MessageSink,
) -> Result<bool, LinkError> {
    let connection = server.ask(&line::encode_fetch(of), Timeouts::REQUEST)?;
    let mut reply = Reply {
        server,
        connection,
        begun: Vec::new(),
        headed: false,
    };
    let mut peeked = vec![0; 64 * 1024];
    loop {
        let n = match reply.connection.stream.peek(&mut peeked) {
            Ok(0) => return Err(reply.cut_off(server.ended())),
            Ok(n) => n,
            Err(e) => return Err(reply.cut_off(server.broken(e))),
        };
        if let Some(found) = reply.step(&peeked[..n], of, sink)? {
            return Ok(found);
        }
    }
}

/// The reply to a fetch.
struct Reply<'s> {
    server: &'s Server,
    connection: ServerConnection,
    /// The beginning of a line whose end has not arrived yet.
    begun: Vec<u8>,
    /// Whether the first line of the reply was received.
    headed: bool,
}

impl Reply<'_> {
    /// Processes the peeked bytes `next`, then consumes them from the socket. At the end of the reply, returns whether
    /// the mailbox exists.
    fn step(
        &mut self,
        next: &[u8],
        of: &Name,
        sink: &mut dyn MessageSink,
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
        sink.finish(&[]).map_err(LinkError::Output)?;
        self.consume(next.len())?;
        Ok(Some(found))
    }

    /// Returns the error for a reply that ends too early.
    fn cut_off(&self, broken: LinkError) -> LinkError {
        match self.headed {
            true => broken,
            false => self.server.cut_off(&self.begun, broken),
        }
    }

    fn line(
        &mut self,
        line: &[u8],
        of: &Name,
        sink: &mut dyn MessageSink,
    ) -> Result<(), LinkError> {
        if !self.headed {
            if Some(line) != line::RETRIEVING.strip_suffix(b"\n") {
                // understand() needs the newline: an empty line is garbage, an empty reply a closed connection.
                return Err(self.server.understand(&[line, b"\n"].concat()));
            }
            self.headed = true;
            return Ok(());
        }
        let piece = match line::decode_fetched(line, of) {
            Fetched::Message { from, text } => MessagePiece::First {
                from,
                // The dialect has no word for it.
                trust: self.connection.trust(None),
                text,
            },
            Fetched::More(text) => MessagePiece::Further(text),
            Fetched::Other => return Err(LinkError::NotAServer(self.server.clone())),
        };
        sink.take(&piece).map_err(LinkError::Output)
    }

    fn consume(&mut self, len: usize) -> Result<(), LinkError> {
        let mut bytes = vec![0; len];
        (&self.connection.stream)
            .read_exact(&mut bytes)
            .map_err(|e| self.server.broken(e))
    }
}
