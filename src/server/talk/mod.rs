//! Serves a client in its dialect, from its first byte to the line in the log.

mod conversation;
mod framed;
mod lease;
mod line;
mod outcome;
mod session;

use std::io;
use std::time::Instant;

use self::conversation::Conversation;
pub(super) use self::outcome::Ended;
use self::outcome::Outcome;
use super::connection::{Connection, Received};
use super::principal::{Owners, Principal};
use super::scoreboard::{ChildStatus, Counter};
use super::sources::Newcomer;
use crate::store::Client;
use crate::sys::clock::Deadline;
use crate::wire::sniff::{Dialect, sniff};

/// Serves a connection and logs its outcome. `origin` is its client as text for people.
pub(super) fn serve<'a>(
    connection: Connection<'a>,
    client: Newcomer,
    origin: String,
    status: ChildStatus,
    owners: Owners<'a>,
) -> Ended {
    let begun = Instant::now();
    let Owners {
        store,
        logins,
        config,
        ..
    } = owners;
    let mut talk = Conversation {
        connection,
        received: Vec::new(),
        deadline: Deadline::after(config.request_timeout),
        principal: Principal::of(client.peer, config, logins),
        peer: client.peer.address(),
        origin,
        status,
        config,
        store,
        owners,
    };
    store.set_client(Client {
        rank: talk.principal.rank(),
        source: client.source.number(),
    });
    let outcome = in_its_dialect(&mut talk).unwrap_or_else(|e| match e.kind() {
        io::ErrorKind::TimedOut => Outcome::Slow("the client did not read in time".into()),
        _ => Outcome::Broken(format!("the connection broke: {e}")),
    });
    if let Some(counter) = outcome.counter() {
        status.count(counter, 1);
    }
    outcome.log(&talk.origin, begun);
    owners.keep_canaries();
    outcome.ended()
}

/// Detects the client's dialect and serves the client in it.
fn in_its_dialect(talk: &mut Conversation<'_>) -> io::Result<Outcome> {
    let first_byte = Deadline::after(talk.first_byte_timeout());
    loop {
        match sniff(&talk.received) {
            None => {}
            Some(Dialect::Line) => return line::serve(talk),
            Some(Dialect::Session) => {
                talk.status.count(Counter::Sessions, 1);
                return session::serve(talk);
            }
            Some(Dialect::Framed) => {
                talk.status.count(Counter::Framed, 1);
                return framed::serve(talk);
            }
            Some(Dialect::Tls) => {
                talk.connection.finish(true);
                return Ok(Outcome::Garbage(
                    "the client started TLS, which is not supported".into(),
                ));
            }
        }
        let limit = if talk.received.is_empty() {
            first_byte.left()
        } else {
            line::silence(talk)
        };
        let is_first = talk.received.is_empty();
        match talk.connection.receive(&mut talk.received, limit)? {
            Received::Bytes if is_first => talk.request_begins(),
            Received::Bytes | Received::Bell => {}
            Received::End | Received::Ending if is_first => {
                return Ok(Outcome::Nothing);
            }
            Received::Silence | Received::Evicted if is_first => return line::too_slow(talk),
            // Only a prefix of `HELLO` has arrived, which the line dialect refuses.
            _ => return line::serve(talk),
        }
    }
}

#[cfg(test)]
mod tests;
