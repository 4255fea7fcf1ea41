//! The listener: a child process of the menu that reads the UDP socket.
//!
//! A message is durable in the inbox before it is acknowledged. The menu is only notified; it reads the inbox itself.
//! The two exchange lines: the menu sends `for NAME`, `secret SECRET` and `count`, the listener sends `mail`, `counts TEXT`
//! and `trouble TEXT`. A menu that does not read cannot block the listener, which drops lines beyond `BACKLOG`.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use super::secrets::{HeldSecret, Secrets};
use crate::client::inbox::{Inbox, InboxError, ReceivedMessage};
use crate::message::{MessageId, MessageKey, Trust};
use crate::name::Name;
use crate::sys::clock;
use crate::sys::poll::{self, Want};
use crate::wire::datagram::{self, Datagram, Malformed};

/// Size of the receive buffer, in bytes. Larger than the longest valid datagram, so that oversized ones are detected.
const ROOM: usize = 2 * datagram::MOST_BYTES;
/// Most datagrams processed before the menu's lines are read again.
const TURN: usize = 64;
/// Bytes queued for the menu above which further lines are dropped.
const BACKLOG: usize = 4096;

/// To the menu: messages wait in the inbox.
pub(super) const MAIL: &str = "mail";
/// To the menu: the counts of datagrams, as text.
pub(super) const COUNTS: &str = "counts";
/// To the menu: an error, as text.
pub(super) const TROUBLE: &str = "trouble";
/// From the menu: the name for which to receive messages.
pub(super) const FOR: &str = "for";
/// From the menu: a [`HeldSecret`].
pub(super) const SECRET: &str = "secret";
/// From the menu: a request for the counts.
pub(super) const COUNT: &str = "count";

/// The user for whom messages are received.
#[derive(Debug)]
struct Recipient {
    name: Name,
    inbox: Inbox,
    secrets: Secrets,
}

/// Counts of datagrams, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// New messages stored in the inbox.
    taken: u64,
    /// Messages already in the inbox, acknowledged again.
    again: u64,
    /// Dropped: not a valid message.
    junk: u64,
    /// Dropped: longer than the limit.
    oversized: u64,
    /// Dropped: for another recipient.
    foreign: u64,
    /// Dropped: not sealed with a ticket that is good now.
    unproved: u64,
    /// Dropped without acknowledgement: they could not be stored in the inbox.
    refused: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            taken,
            again,
            junk,
            oversized,
            foreign,
            unproved,
            refused,
        } = self;
        write!(
            f,
            "{taken} new, {again} repeated; dropped: {junk} invalid, {oversized} oversized, \
             {foreign} foreign, {unproved} without a valid ticket, {refused} refused"
        )
    }
}

/// A listener, in its own process.
#[derive(Debug)]
pub(super) struct InstantListener {
    socket: UdpSocket,
    menu: UnixStream,
    /// Bytes of an incomplete line from the menu.
    heard: Vec<u8>,
    /// Bytes to send to the menu.
    unsaid: Vec<u8>,
    recipient: Option<Recipient>,
    counts: Counts,
    /// The last error reported, so that it is not repeated.
    told: Option<String>,
}

impl InstantListener {
    /// Creates a listener that ignores datagrams until the menu sends a name.
    ///
    /// # Errors
    /// The sockets cannot be made non-blocking.
    pub(super) fn new(socket: UdpSocket, menu: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        menu.set_nonblocking(true)?;
        Ok(Self {
            socket,
            menu,
            heard: Vec::new(),
            unsaid: Vec::new(),
            recipient: None,
            counts: Counts::default(),
            told: None,
        })
    }

    /// Serves until the menu closes its end.
    ///
    /// # Errors
    /// Those of poll(2), and of reading from the menu.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            let mut fds = vec![(self.menu.as_fd(), Want::Read)];
            if !self.unsaid.is_empty() {
                fds.push((self.menu.as_fd(), Want::Write));
            }
            let socket = fds.len();
            if self.recipient.is_some() {
                fds.push((self.socket.as_fd(), Want::Read));
            }
            let ready = poll::wait(&fds, None)?;
            if ready.has(0) && !self.hear()? {
                return Ok(());
            }
            if self.recipient.is_some() && ready.has(socket) {
                self.take_datagrams();
            }
            self.say_more();
        }
    }

    /// Reads and executes lines from the menu. Returns `false` at end of file.
    fn hear(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 1024];
        match self.menu.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(n) => self.heard.extend_from_slice(&bytes[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(e) => return Err(e),
        }
        while let Some(end) = memchr::memchr(b'\n', &self.heard) {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            match line.split_once(' ') {
                Some((FOR, name)) => self.listen_for(name),
                Some((SECRET, text)) => self.hold(text),
                None if line == COUNT => self.say(COUNTS, &self.counts.to_string()),
                _ => {}
            }
        }
        Ok(true)
    }

    fn listen_for(&mut self, name: &str) {
        self.recipient = None;
        let Ok(name) = name.parse::<Name>() else {
            return;
        };
        match Inbox::open(&name) {
            Ok(mut inbox) => {
                // Messages may wait since an earlier menu.
                let waits = inbox.waiting().is_ok_and(|waiting| !waiting.is_empty());
                self.recipient = Some(Recipient {
                    name,
                    inbox,
                    secrets: Secrets::default(),
                });
                if waits {
                    self.say(MAIL, "");
                }
            }
            Err(e) => self.say(TROUBLE, &e.to_string()),
        }
    }

    fn hold(&mut self, text: &str) {
        if let (Some(recipient), Ok(held)) = (&mut self.recipient, text.parse::<HeldSecret>()) {
            recipient.secrets.hold(held);
        }
    }

    fn take_datagrams(&mut self) {
        let mut bytes = [0; ROOM];
        for _ in 0..TURN {
            match self.socket.recv_from(&mut bytes) {
                Ok((n, from)) => self.take(&bytes[..n], from),
                // WouldBlock: no more datagrams. Other errors concern one datagram or recur at the next poll.
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8], from: SocketAddr) {
        let Some(recipient) = &mut self.recipient else {
            return;
        };
        let (received, ack) = match datagram::decode(bytes) {
            Ok(Datagram::Sealed(sealed)) if sealed.to != recipient.name => {
                self.counts.foreign += 1;
                return;
            }
            Ok(Datagram::Sealed(sealed)) => {
                let Some((key, opened)) = recipient.secrets.open(&sealed) else {
                    self.counts.unproved += 1;
                    return;
                };
                let (at, body) = (opened.at, opened.body);
                (ReceivedMessage { key, at, body }, Some(opened.ack))
            }
            Ok(Datagram::Text { from, body }) => {
                let Ok(id) = MessageId::random() else {
                    self.counts.refused += 1;
                    return;
                };
                let trust = Trust::Open;
                let key = MessageKey { trust, from, id };
                let (at, body) = (clock::unix_millis(), body.to_vec());
                (ReceivedMessage { key, at, body }, None)
            }
            Err(Malformed::TooLong) => {
                self.counts.oversized += 1;
                return;
            }
            Ok(Datagram::Ack(_)) | Err(_) => {
                self.counts.junk += 1;
                return;
            }
        };
        let taken = recipient.inbox.receive(&received);
        if let (Ok(_), Some(ack)) = (&taken, ack) {
            // If this is lost, the sender retransmits.
            let _ = self.socket.send_to(&ack, from);
        }
        self.took(taken);
    }

    fn took(&mut self, taken: Result<bool, InboxError>) {
        match taken {
            Ok(is_new) => {
                self.told = None;
                if is_new {
                    self.counts.taken += 1;
                    self.say(MAIL, "");
                } else {
                    self.counts.again += 1;
                }
            }
            Err(e) => {
                self.counts.refused += 1;
                let trouble = e.to_string();
                if self.told.as_ref() != Some(&trouble) {
                    self.say(TROUBLE, &trouble);
                    self.told = Some(trouble);
                }
            }
        }
    }

    fn say(&mut self, word: &str, text: &str) {
        // Drop the line: the menu reads the inbox when it gets to the lines already queued.
        if self.unsaid.len() > BACKLOG {
            return;
        }
        let text = text.replace('\n', " ");
        self.unsaid
            .extend_from_slice(format!("{word} {text}\n").as_bytes());
        self.say_more();
    }

    fn say_more(&mut self) {
        while !self.unsaid.is_empty() {
            match self.menu.write(&self.unsaid) {
                Ok(n) => {
                    self.unsaid.drain(..n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The socket is full, or the menu is gone, which the next read detects.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_formatted_as_text() {
        let counts = Counts {
            taken: 1,
            foreign: 2,
            ..Counts::default()
        };
        assert_eq!(
            counts.to_string(),
            "1 new, 0 repeated; dropped: 0 invalid, 0 oversized, 2 foreign, 0 without a valid ticket, 0 refused"
        );
    }
}
