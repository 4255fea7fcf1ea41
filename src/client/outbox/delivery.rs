//! Sends the messages in the outbox.

use super::{Item, Outbox, OutboxError, Queued};
use crate::client::instant::{self, SendReport};
use crate::client::link::{DialectChoice, Link, LinkError, Offered, Server};
use crate::name::Name;
use crate::sys::clock;
use crate::sys::lock::Locked;
use crate::wire::datagram::Letter;

/// The outcome for a message in the outbox.
#[derive(Debug)]
pub(in crate::client) enum Event<'m> {
    /// The message was sent, and removed from the outbox.
    Sent(&'m Queued),
    /// The message was refused permanently. It stays until it is discarded.
    Refused(&'m Queued, String),
    /// The file of this name is damaged.
    Damaged(&'m str),
}

/// The servers and mailboxes for which messages remain queued. Later messages to them must wait, to keep the order.
#[derive(Debug, Default)]
pub(in crate::client) struct Deferred {
    servers: Vec<Server>,
    mailboxes: Vec<(Server, Name)>,
    /// Another process is still sending the outbox: all messages must wait.
    all: bool,
    /// The last error.
    pub(in crate::client) why: Option<LinkError>,
}

impl Deferred {
    /// Returns whether a message to `to` must wait.
    pub(in crate::client) fn blocks(&self, server: &Server, to: &Name) -> bool {
        self.all
            || self.servers.contains(server)
            || self
                .mailboxes
                .iter()
                .any(|(there, this)| there == server && this == to)
    }

    /// Returns whether no message must wait.
    pub(in crate::client) fn is_empty(&self) -> bool {
        !self.all && self.servers.is_empty() && self.mailboxes.is_empty()
    }

    fn add(&mut self, server: Server, to: &Name, why: LinkError) {
        match why {
            LinkError::Later(_) => self.mailboxes.push((server, to.clone())),
            _ => self.servers.push(server),
        }
        self.why = Some(why);
    }
}

/// Like [`send_all`], but waits for another process that is sending the outbox. The caller sends a new message
/// afterwards, so queued messages go first. If the wait times out, all later messages must wait.
///
/// # Errors
/// As for [`send_all`].
pub(in crate::client) fn send_before(
    outbox: &Outbox,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Result<Deferred, OutboxError> {
    if outbox.names()?.is_empty() {
        return Ok(Deferred::default());
    }
    match outbox.wait_for_turn()? {
        Some(turn) => send_in_turn(outbox, &turn, false, tell),
        None => Ok(Deferred {
            all: true,
            ..Deferred::default()
        }),
    }
}

/// Tries to send each message once, oldest first; with `again`, also those refused before. Does nothing if another
/// process is sending.
///
/// # Errors
/// The outbox cannot be read or written. No message is lost.
pub(in crate::client) fn send_all(
    outbox: &Outbox,
    again: bool,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Result<Deferred, OutboxError> {
    if outbox.names()?.is_empty() {
        return Ok(Deferred::default());
    }
    match outbox.turn()? {
        Some(turn) => send_in_turn(outbox, &turn, again, tell),
        None => Ok(Deferred::default()),
    }
}

/// Like [`send_all`], for a caller that holds the lock for sending.
fn send_in_turn(
    outbox: &Outbox,
    _turn: &Locked,
    again: bool,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Result<Deferred, OutboxError> {
    let mut deferred = Deferred::default();
    outbox.sweep();
    for Item { name, message } in outbox.items()? {
        let Some(mut message) = message else {
            tell(&Event::Damaged(&name));
            continue;
        };
        if message.refused.is_some() && !again {
            continue;
        }
        let configured = message.server.clone();
        let server = configured.unwrap_or_else(Server::of_this_machine);
        if deferred.blocks(&server, &message.to) {
            continue;
        }
        let link = Link::new(server.clone(), message.dialect).in_background();
        match send(&link, &message) {
            Ok(()) => {
                outbox.remove(&name)?;
                tell(&Event::Sent(&message));
            }
            Err(e) if link.is_temporary(&e) => deferred.add(server, &message.to, e),
            Err(e) => {
                message.refused = Some(e.to_string());
                outbox.put(&message)?;
                tell(&Event::Refused(&message, e.to_string()));
            }
        }
    }
    Ok(deferred)
}

fn send(link: &Link, message: &Queued) -> Result<(), LinkError> {
    let ttl = match message.expires {
        None => None,
        Some(at) => match at.saturating_sub(clock::unix_millis()).div_ceil(1_000) {
            0 => return Err(LinkError::Unfit("it expired before it could be sent")),
            seconds => Some(seconds),
        },
    };
    let letter = Letter {
        id: message.id,
        at: message.at,
        from: message.from.clone(),
        to: message.to.clone(),
        body: &message.body,
    };
    if link.dialect() == DialectChoice::Framed {
        return instant::deliver(link, &letter, ttl).map(|_: SendReport| ());
    }
    link.offer(&letter, ttl).map(|_: Offered| ())
}
