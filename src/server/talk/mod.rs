//! Talking to a client: in its dialect, from its first byte to the one line in the log.

mod framed;
mod line;
mod session;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::config::Config;
use super::connection::{Connection, Pace, Received};
use super::who_may::{self, Standing};
use crate::message::{Draft, MessageId, Trust};
use crate::name::Name;
use crate::store::{Delivery, Receipt, Store, StoreError};
use crate::sys::clock::{Deadline, unix_millis};
use crate::wire::session::Code;
use crate::wire::sniff::{Dialect, sniff};

/// All that a dialect needs to serve a client.
struct Talk<'a> {
    connection: Connection,
    /// What the client has said so far.
    received: Vec<u8>,
    /// By when it must have said its request.
    deadline: Deadline,
    standing: Standing,
    /// Where it comes from.
    peer: SocketAddr,
    config: &'a Config,
    store: &'a dyn Store,
}

/// What became of a connection: its line in the log. Never holds what a client said, but for names
/// that are valid.
enum Outcome {
    /// What was asked was done.
    Done(String),
    /// The client was told why not.
    Refused(String),
    /// The store has failed, and the client was told so.
    Failed(String),
    /// The client went away, or was too slow.
    Broken(String),
    /// The client said nothing and left: somebody has looked whether we are there.
    Nothing,
}

/// Serves one connection and logs what became of it.
pub(super) fn talk(connection: Connection, peer: SocketAddr, config: &Config, store: &dyn Store) {
    let begun = Instant::now();
    let mut talk = Talk {
        connection,
        received: Vec::new(),
        deadline: Deadline::after(config.request_timeout),
        standing: who_may::standing(peer, config),
        peer,
        config,
        store,
    };
    let outcome = talk
        .serve()
        .unwrap_or_else(|e| Outcome::Broken(format!("the connection broke: {e}")));
    let took = Took(begun);
    match outcome {
        Outcome::Done(what) => log::info!("{peer} {what} ({took})"),
        Outcome::Refused(why) => log::info!("{peer} refused: {why} ({took})"),
        Outcome::Failed(why) => log::error!("{peer} {why} ({took})"),
        Outcome::Broken(how) => log::info!("{peer} {how} ({took})"),
        Outcome::Nothing => log::debug!("{peer} said nothing ({took})"),
    }
}

struct Took(Instant);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.elapsed().as_secs_f64() * 1000.0)
    }
}

impl Talk<'_> {
    fn serve(&mut self) -> io::Result<Outcome> {
        let first_byte = Deadline::after(self.config.first_byte_timeout);
        loop {
            match sniff(&self.received) {
                None => {}
                Some(Dialect::Line) => return self.line(),
                Some(Dialect::Session) => return self.session(),
                Some(Dialect::Framed) => return self.framed(),
                Some(Dialect::Tls) => {
                    self.connection.finish(true);
                    return Ok(Outcome::Refused(
                        "the client wants TLS, which is not spoken".into(),
                    ));
                }
            }
            let limit = if self.received.is_empty() {
                first_byte.left()
            } else {
                line::silence(&self.received)
            };
            match self.connection.receive(&mut self.received, limit)? {
                Received::Bytes | Received::Bell => {}
                Received::End | Received::Ending if self.received.is_empty() => {
                    return Ok(Outcome::Nothing);
                }
                Received::Silence if self.received.is_empty() => return self.too_slow(),
                // A beginning of `HELLO` is all that there is: some other verb.
                _ => return self.line(),
            }
        }
    }

    /// Sends a reply that is not long, and closes.
    fn reply(&mut self, reply: &[u8], more_comes: bool) -> io::Result<()> {
        let mut pace = Pace::new(self.config.request_timeout);
        self.connection.send(reply, &mut pace)?;
        self.connection.finish(more_comes);
        Ok(())
    }

    /// Stores a message of a dialect whose clients do not name their messages.
    fn deliver(&self, to: &Name, from: &Name, body: &[u8]) -> Result<Receipt, StoreError> {
        let draft = Draft {
            id: new_id()?,
            from,
            trust: Trust::Open,
            at: unix_millis(),
            expires: None,
            // The id is new, so nobody can have sent this message before.
            once: false,
            body,
        };
        self.store.deliver_one(Delivery { to, draft })
    }
}

fn new_id() -> Result<MessageId, StoreError> {
    MessageId::random().map_err(|e| StoreError::System {
        action: "draw a random id from",
        path: "the kernel".into(),
        source: e.into(),
    })
}

/// What a client is told that can do something about an error of the store, or wait; `None` for one that only
/// the log explains.
fn reason(error: &StoreError) -> Option<(Code, &'static str)> {
    Some(match error {
        StoreError::Busy => (
            Code::Busy,
            "Busy: another reader has these messages, try again later",
        ),
        StoreError::DiskFull(_) => (Code::DiskFull, "The server's disk is full, try again later"),
        StoreError::Quota(..) => (
            Code::Quota,
            "The mailbox is full, try again when its owner has read it",
        ),
        StoreError::ReadOnly(_) => (
            Code::Internal,
            "The server cannot write to this mailbox now, try again later",
        ),
        StoreError::Damaged { .. }
        | StoreError::Exists(_)
        | StoreError::Order { .. }
        | StoreError::Spool { .. }
        | StoreError::System { .. } => return None,
    })
}
