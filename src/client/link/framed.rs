//! The framed dialect of the old chat client: one command per connection.
//!
//! Its server stores messages only for offline recipients. For an online recipient it returns the address. It delivers
//! waiting messages only when a name registers.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use super::server::{ServerConnection, Timeouts};
use super::{LinkError, MessagePiece, MessageSink, Offered, Person, Server};
use crate::message::Trust;
use crate::name::Name;
use crate::wire::datagram::Letter;
use crate::wire::framed::{self, Command, Delivered, Order};
use crate::wire::line::Unsayable;

/// The outcome of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Registered {
    /// The name was not registered before.
    New,
    /// The name was registered, and is online again.
    Back,
    /// Another client is online with the name. Nothing has changed.
    Taken,
}

/// A connection on which a command was sent.
struct FramedConversation<'s> {
    server: &'s Server,
    connection: ServerConnection,
}

impl<'s> FramedConversation<'s> {
    fn begin(
        server: &'s Server,
        command: Command,
        name: Option<&Name>,
        timeouts: Timeouts,
    ) -> Result<Self, LinkError> {
        let connection = server.ask(&frame(command.text()), timeouts)?;
        let mut conversation = Self { server, connection };
        if let Some(name) = name {
            conversation.say(name.as_bytes())?;
        }
        Ok(conversation)
    }

    /// Writes a frame with a single write(2): an old server may expect it whole from a single read(2).
    fn say(&mut self, text: &[u8]) -> Result<(), LinkError> {
        (&self.connection.stream)
            .write_all(&frame(text))
            .map_err(|e| self.server.broken(e))
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), LinkError> {
        (&self.connection.stream)
            .read_exact(bytes)
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof => self.server.ended(),
                _ => self.server.broken(e),
            })
    }

    /// Reads a frame except for its NUL. The server takes messages for delivered only once the NUL is read, too.
    fn read_text(&mut self) -> Result<Vec<u8>, LinkError> {
        let mut length = [0; 4];
        let (first, rest) = length.split_at_mut(1);
        self.read_exact(first)?;
        // A server writes the four bytes at once: if some are missing, the peer is no server.
        self.read_exact(rest).map_err(|_| self.strange())?;
        // The server uses the byte order of the request.
        let len = match framed::decode_length(length) {
            Some((len, Order::Little)) => len.checked_sub(1),
            _ => None,
        };
        let len = len.ok_or_else(|| self.strange())?;
        let mut text = vec![0; len];
        self.read_exact(&mut text)?;
        Ok(text)
    }

    /// Reads the NUL after [`read_text`](Self::read_text).
    fn read_nul(&mut self) -> Result<(), LinkError> {
        self.read_exact(&mut [0])
    }

    /// Reads a whole frame.
    fn answer(&mut self) -> Result<Vec<u8>, LinkError> {
        let text = self.read_text()?;
        self.read_nul()?;
        Ok(text)
    }

    /// Waits until the server closes the connection, which it does once the command is done.
    fn end(self) -> Result<(), LinkError> {
        let mut rest = Vec::new();
        let read = (&self.connection.stream).take(64).read_to_end(&mut rest);
        read.map(drop).map_err(|e| self.server.broken(e))
    }

    fn strange(&self) -> LinkError {
        LinkError::NotAServer(self.server.clone())
    }

    /// Reads the waiting messages, which are in the next frame, into `sink`.
    fn deliver(&mut self, sink: &mut dyn MessageSink) -> Result<(), LinkError> {
        let queue = self.read_text()?;
        split_queue(&queue, self.connection.trust(None), sink)
            .and_then(|()| sink.finish(&[]))
            .map_err(LinkError::Output)?;
        self.read_nul()
    }
}

fn frame(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    framed::encode_frame(&mut bytes, text, Order::Little);
    bytes
}

/// Splits a queue into messages. `trust` is that of all senders: the dialect has no word for it.
fn split_queue(
    queue: &[u8],
    trust: Option<Trust>,
    sink: &mut dyn MessageSink,
) -> std::io::Result<()> {
    let queue = queue.strip_suffix(b"\n").unwrap_or(queue);
    let mut from: Option<Name> = None;
    let mut begun = false;
    for line in queue.split(|&b| b == b'\n') {
        match framed::decode_delivered(line) {
            Delivered::From(name) => {
                from = Some(name);
                begun = false;
            }
            Delivered::Line(text) if begun => sink.take(&MessagePiece::Further(text))?,
            Delivered::Line(text) => {
                // The server has sent no sender for this line.
                let from = from.as_ref().map_or(&b"?"[..], Name::as_bytes);
                sink.take(&MessagePiece::First { from, trust, text })?;
                begun = true;
            }
        }
    }
    Ok(())
}

/// Registers `name` and makes it online at this address, unless another client is online with it. Reads the waiting
/// messages into `sink`.
///
/// # Errors
/// The messages stay waiting.
pub(super) fn register(
    server: &Server,
    name: &Name,
    at: SocketAddr,
    sink: &mut dyn MessageSink,
    timeouts: Timeouts,
) -> Result<Registered, LinkError> {
    registrable(name)?;
    let mut exchange = FramedConversation::begin(server, Command::Register, Some(name), timeouts)?;
    let code = exchange.answer()?;
    if code == framed::IS_ONLINE {
        return Ok(Registered::Taken);
    }
    if code != framed::DONE && code != framed::IS_KNOWN {
        return Err(exchange.strange());
    }
    exchange.say(&framed::encode_address(at))?;
    let done = exchange.answer()?;
    if code == framed::DONE && done == framed::DONE {
        return Ok(Registered::New);
    }
    if done == framed::MESSAGES {
        exchange.deliver(sink)?;
    } else if done != framed::NO_MESSAGES {
        return Err(exchange.strange());
    }
    Ok(Registered::Back)
}

/// Checks that the name is valid in this dialect.
fn registrable(name: &Name) -> Result<(), LinkError> {
    match framed::is_registrable(name) {
        true => Ok(()),
        false => Err(LinkError::NoFramedName(name.clone())),
    }
}

/// Reads the messages waiting for `of`. The dialect has no other way than to register the name and quit again.
///
/// # Errors
/// The messages stay waiting. A name that is online is an error: its messages go to its client.
pub(super) fn fetch(
    server: &Server,
    of: &Name,
    sink: &mut dyn MessageSink,
    timeouts: Timeouts,
) -> Result<(), LinkError> {
    registrable(of)?;
    let mut exchange = FramedConversation::begin(server, Command::Register, Some(of), timeouts)?;
    let code = exchange.answer()?;
    if code == framed::DONE {
        // The name is not registered, so that no messages wait. Closing the connection now leaves it unregistered.
        return Ok(());
    }
    if code == framed::IS_ONLINE {
        let text = format!("{of} is online, and messages go to that client");
        return Err(LinkError::Refused(text));
    }
    if code != framed::IS_KNOWN {
        return Err(exchange.strange());
    }
    let ip = exchange
        .connection
        .stream
        .our_ip()
        .unwrap_or(Ipv4Addr::LOCALHOST.into());
    exchange.say(&framed::encode_address(SocketAddr::new(ip, 9)))?;
    let done = exchange.answer()?;
    let delivered = if done == framed::MESSAGES {
        exchange.deliver(sink)
    } else {
        Ok(())
    };
    quit(server, of, timeouts)?;
    delivered
}

/// Offers a message. The server stores it, or returns the address of the recipient.
///
/// # Errors
/// The recipient is not registered, or the dialect cannot carry the message.
pub(super) fn send(
    server: &Server,
    letter: &Letter<'_>,
    timeouts: Timeouts,
) -> Result<Offered, LinkError> {
    if letter.body.is_empty() {
        return Err(Unsayable::Empty.into());
    }
    if letter.body.contains(&0) {
        return Err(LinkError::Unfit(
            "the message contains a NUL byte, which the framed dialect cannot carry",
        ));
    }
    let mut text = Vec::new();
    framed::encode_message(&mut text, &letter.from, letter.body);
    if text.len() > framed::MAX_TEXT {
        return Err(LinkError::Unfit(
            "the message is too long: the framed dialect carries less than 65535 bytes",
        ));
    }
    registrable(&letter.to)?;
    let mut exchange =
        FramedConversation::begin(server, Command::Send, Some(&letter.to), timeouts)?;
    let code = exchange.answer()?;
    if code == framed::NOT_REGISTERED {
        let text = format!("{} is not registered", letter.to);
        return Err(LinkError::UnknownUser(text));
    }
    if code == framed::SEND_TO {
        let address = exchange.answer()?;
        let address = framed::decode_address(&address).ok_or_else(|| exchange.strange())?;
        return Ok(Offered::SendTo(address));
    }
    if code != framed::SEND_HERE {
        return Err(exchange.strange());
    }
    exchange
        .say(&text)
        .and_then(|()| exchange.end())
        .map_err(|e| match e {
            LinkError::Broken(server, error) => LinkError::Unknown(server, error),
            e => e,
        })?;
    Ok(Offered::Stored(None))
}

/// Returns the registered users.
///
/// # Errors
/// The server does not answer.
pub(super) fn who(server: &Server, timeouts: Timeouts) -> Result<Vec<Person>, LinkError> {
    let mut exchange = FramedConversation::begin(server, Command::Who, None, timeouts)?;
    let list = exchange.answer()?;
    if list == framed::NO_CLIENTS {
        return Ok(Vec::new());
    }
    let list = list
        .strip_prefix(framed::LIST)
        .ok_or_else(|| exchange.strange())?;
    let people = list
        .split(|&b| b == b'\n')
        .filter_map(framed::decode_listed);
    Ok(people
        .map(|(name, online)| Person { name, online })
        .collect())
}

/// Makes the name offline.
///
/// # Errors
/// The server does not answer.
pub(super) fn quit(server: &Server, name: &Name, timeouts: Timeouts) -> Result<(), LinkError> {
    FramedConversation::begin(server, Command::Quit, Some(name), timeouts)?.end()
}

/// Removes the name and its presence.
///
/// # Errors
/// The server does not answer.
pub(super) fn deregister(
    server: &Server,
    name: &Name,
    timeouts: Timeouts,
) -> Result<(), LinkError> {
    FramedConversation::begin(server, Command::Deregister, Some(name), timeouts)?.end()
}
