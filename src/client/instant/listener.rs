//! The listener: a child of the menu that owns the UDP socket.
//!
//! Each message is in the inbox, on the disk, before it is acknowledged. The menu is told only that something
//! is there; what it shows it reads from the inbox. On the way between the two are lines: the menu says `for
//! NAME` and `count`, the listener says `mail`, `counts TEXT` and `trouble TEXT`. A menu that does not read
//! holds up nothing: there is never more than a few lines on their way to it.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use crate::client::inbox::{Inbox, InboxError, ReceivedMessage};
use crate::message::{MessageId, Trust};
use crate::name::Name;
use crate::sys::clock;
use crate::sys::poll::{self, Want};
use crate::wire::datagram::{self, Datagram, Malformed};

/// Room for more than the longest datagram, so that a longer one is seen to be that.
const ROOM: usize = 2 * datagram::MOST_BYTES;
/// How many datagrams are worked on before the menu is listened to again.
const TURN: usize = 64;
/// How many bytes may wait for the menu to read them.
const BACKLOG: usize = 4096;

/// To the menu: something is in the inbox.
pub(super) const MAIL: &str = "mail";
/// To the menu: what was done so far, in words, follows.
pub(super) const COUNTS: &str = "counts";
/// To the menu: what cannot be done, in words, follows.
pub(super) const TROUBLE: &str = "trouble";
/// From the menu: the name whose messages are taken follows.
pub(super) const FOR: &str = "for";
/// From the menu: it wants to know the counts.
pub(super) const COUNT: &str = "count";

/// Whose messages are taken.
#[derive(Debug)]
struct Recipient {
    name: Name,
    inbox: Inbox,
}

/// Datagrams, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Messages that were taken in.
    taken: u64,
    /// Messages that had been taken in before, and were acknowledged again.
    again: u64,
    /// Dropped: neither form, or not whole.
    junk: u64,
    /// Dropped: longer than a datagram may be.
    oversized: u64,
    /// Dropped: for somebody else.
    foreign: u64,
    /// Dropped, and not acknowledged: the inbox did not take them.
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
            refused,
        } = self;
        write!(
            f,
            "{taken} new, {again} again; dropped: {junk} junk, {oversized} oversized, \
             {foreign} foreign, {refused} refused"
        )
    }
}

/// A listener, in its own process.
#[derive(Debug)]
pub(super) struct InstantListener {
    socket: UdpSocket,
    menu: UnixStream,
    /// What the menu has said, up to a newline.
    heard: Vec<u8>,
    /// What is still to be said to it.
    unsaid: Vec<u8>,
    recipient: Option<Recipient>,
    counts: Counts,
    /// The trouble that was told last, so that it is told once.
    told: Option<String>,
}

impl InstantListener {
    /// A listener that waits for its menu to say for whom it is.
    ///
    /// # Errors
    /// When the sockets cannot be set up.
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

    /// Works until the menu is gone.
    ///
    /// # Errors
    /// When it cannot go on.
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

    /// Listens to the menu; `false` when it is gone.
    fn hear(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 256];
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
                // What came when there was no menu to show it.
                let waits = inbox.waiting().is_ok_and(|waiting| !waiting.is_empty());
                self.recipient = Some(Recipient { name, inbox });
                if waits {
                    self.say(MAIL, "");
                }
            }
            Err(e) => self.say(TROUBLE, &e.to_string()),
        }
    }

    fn take_datagrams(&mut self) {
        let mut bytes = [0; ROOM];
        for _ in 0..TURN {
            match self.socket.recv_from(&mut bytes) {
                Ok((n, from)) => self.take(&bytes[..n], from),
                // WouldBlock: no more; anything else is told by the next poll, or was about one datagram.
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8], from: SocketAddr) {
        let Some(recipient) = &mut self.recipient else {
            return;
        };
        let (received, wants_ack) = match datagram::decode(bytes) {
            Ok(Datagram::Message(letter)) if letter.to != recipient.name => {
                self.counts.foreign += 1;
                return;
            }
            Ok(Datagram::Message(letter)) => {
                let received = ReceivedMessage {
                    id: letter.id,
                    from: letter.from,
                    trust: Trust::Open,
                    at: letter.at,
                    body: letter.body.to_vec(),
                };
                (received, true)
            }
            Ok(Datagram::Text { from, body }) => {
                let Ok(id) = MessageId::random() else {
                    self.counts.refused += 1;
                    return;
                };
                let received = ReceivedMessage {
                    id,
                    from,
                    trust: Trust::Open,
                    at: clock::unix_millis(),
                    body: body.to_vec(),
                };
                (received, false)
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
        self.took(&received, taken, wants_ack.then_some(from));
    }

    fn took(
        &mut self,
        received: &ReceivedMessage,
        taken: Result<bool, InboxError>,
        wants_ack: Option<SocketAddr>,
    ) {
        match taken {
            Ok(is_new) => {
                if let Some(sender) = wants_ack {
                    // Where it is lost, the sender asks again.
                    let _ = self
                        .socket
                        .send_to(&datagram::encode_ack(received.id), sender);
                }
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
        // It has not read what was said before: it will look into the inbox when it does.
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
                // Full, or gone, which reading tells.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_a_sentence() {
        let counts = Counts {
            taken: 1,
            foreign: 2,
            ..Counts::default()
        };
        assert_eq!(
            counts.to_string(),
            "1 new, 0 again; dropped: 0 junk, 0 oversized, 2 foreign, 0 refused"
        );
    }
}
