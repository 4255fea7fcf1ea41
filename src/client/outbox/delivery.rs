//! Sending what is in the outbox.

use super::{Item, Outbox, OutboxError, Queued};
use crate::client::instant::{self, SendReport};
use crate::client::link::{DialectChoice, Link, LinkError, Offered, Server};
use crate::client::settings::default_server;
use crate::name::Name;
use crate::sys::clock;
use crate::sys::lock::Locked;
use crate::wire::datagram::Letter;

/// What became of a message of the outbox.
#[derive(Debug)]
pub(in crate::client) enum Event<'m> {
    /// The server has it, and the outbox no more.
    Sent(&'m Queued),
    /// It is refused for good, and stays until it is dropped.
    Refused(&'m Queued, String),
    /// A file is damaged.
    Damaged(&'m str),
}

/// Where messages cannot be sent just now: what comes later must wait behind them.
#[derive(Debug, Default)]
pub(in crate::client) struct Deferred {
    servers: Vec<Server>,
    mailboxes: Vec<(Server, Name)>,
    /// Another process is at it, and does not come to an end.
    all: bool,
    /// Why not, for the last of them.
    pub(in crate::client) why: Option<LinkError>,
}

impl Deferred {
    /// Whether a message for `to` must wait.
    pub(in crate::client) fn blocks(&self, server: &Server, to: &Name) -> bool {
        self.all
            || self.servers.contains(server)
            || self
                .mailboxes
                .iter()
                .any(|(there, this)| there == server && this == to)
    }

    /// Whether nothing must wait.
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

/// As [`send_all`], for whoever is to send something after it: waits for another process that does the same, so that
/// what is queued comes first; what is still there after that holds up all that comes later.
///
/// # Errors
/// As there.
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

/// Sends what can be sent, the oldest first, each once; with `again` also what was refused before. Does
/// nothing while another process does the same.
///
/// # Errors
/// When the outbox cannot be read or written. Nothing is lost.
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

/// The same for whoever has the turn.
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
        let server = match &message.server {
            Some(server) => server.clone(),
            None => default_server(Some(&message.from)),
        };
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
            0 => return Err(LinkError::Unfit("it has expired before it could be sent")),
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
