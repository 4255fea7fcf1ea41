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
use super::logging::AUTH;
use super::scoreboard::{Counter, Ticket};
use super::who_may::{Denied, Standing};
use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;
use crate::store::{Delivery, Lease, Receipt, Store, StoreError};
use crate::sys::clock::{Deadline, unix_millis};
use crate::sys::peer::Peer;
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
    /// Where it comes from; loopback for a process of this machine.
    peer: SocketAddr,
    /// The same for people.
    whence: String,
    ticket: Ticket,
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
    /// The client went away.
    Broken(String),
    /// The client was too slow.
    Slow(String),
    /// The client speaks no dialect.
    Garbage(String),
    /// The client said nothing and left: somebody has looked whether we are there.
    Nothing,
}

/// How a connection ended, for the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing is held against the client.
    Well,
    /// It spoke no dialect.
    Garbage,
    /// It took too long.
    Slow,
}

/// Serves one connection, from `peer`, which is `whence` for people, and logs what became of it.
pub(super) fn talk(
    connection: Connection,
    peer: Peer,
    whence: String,
    ticket: Ticket,
    config: &Config,
    store: &dyn Store,
) -> Ended {
    let begun = Instant::now();
    let mut talk = Talk {
        connection,
        received: Vec::new(),
        deadline: Deadline::after(config.request_timeout),
        standing: Standing::of(peer, config),
        peer: peer.address(),
        whence,
        ticket,
        config,
        store,
    };
    let outcome = talk.serve().unwrap_or_else(|e| match e.kind() {
        io::ErrorKind::TimedOut => Outcome::Slow("the client did not read in time".into()),
        _ => Outcome::Broken(format!("the connection broke: {e}")),
    });
    let took = Took(begun);
    let ended = match outcome {
        Outcome::Slow(_) => Ended::Slow,
        Outcome::Garbage(_) => Ended::Garbage,
        _ => Ended::Well,
    };
    match outcome {
        Outcome::Refused(_) => ticket.count(Counter::Refused, 1),
        Outcome::Failed(_) => ticket.count(Counter::Failed, 1),
        _ => {}
    }
    let whence = &talk.whence;
    match outcome {
        Outcome::Done(what) => log::info!("{whence} {what} ({took})"),
        Outcome::Refused(why) => log::info!(target: AUTH, "{whence} refused: {why} ({took})"),
        Outcome::Failed(why) => log::error!("{whence} {why} ({took})"),
        Outcome::Broken(how) => log::info!("{whence} {how} ({took})"),
        Outcome::Slow(how) => log::info!(target: AUTH, "{whence} too slow: {how} ({took})"),
        Outcome::Garbage(why) => log::info!(target: AUTH, "{whence} refused: {why} ({took})"),
        Outcome::Nothing => log::debug!("{whence} said nothing ({took})"),
    }
    ended
}

struct Took(Instant);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole numbers: what prints others is large.
        let micros = u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX - 50);
        let tenths = (micros + 50) / 100;
        write!(f, "{}.{} ms", tenths / 10, tenths % 10)
    }
}

impl Talk<'_> {
    fn serve(&mut self) -> io::Result<Outcome> {
        let first_byte = Deadline::after(self.config.first_byte_timeout);
        loop {
            match sniff(&self.received) {
                None => {}
                Some(Dialect::Line) => return self.line(),
                Some(Dialect::Session) => {
                    self.ticket.count(Counter::Sessions, 1);
                    return self.session();
                }
                Some(Dialect::Framed) => {
                    self.ticket.count(Counter::Framed, 1);
                    return self.framed();
                }
                Some(Dialect::Tls) => {
                    self.connection.finish(true);
                    return Ok(Outcome::Garbage(
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
        self.connection.send_last(reply, &mut pace)?;
        self.connection.finish(more_comes);
        Ok(())
    }

    /// Says what is done, for whoever looks.
    fn doing(&self, what: &str) {
        #[cfg(debug_assertions)]
        break_as_asked(what);
        self.ticket.doing(&self.whence, what);
    }

    /// Whether the client may act as `name`.
    fn may_be(&self, name: &Name) -> Result<Result<(), Denied>, StoreError> {
        self.standing.may_be(name, self.store)
    }

    /// Whether the client may go on as `name`, which it could be before.
    fn may_still_be(&self, name: &Name) -> Result<Result<(), Denied>, StoreError> {
        self.standing.may_still_be(name, self.store)
    }

    /// Takes the lease of `name`, as [`Presence::take`](crate::store::Presence::take), and keeps it only if the name
    /// was not claimed meanwhile: a claim ends the leases that were there before it, and this one sees the claim
    /// if it came later.
    fn take(
        &self,
        name: &Name,
        lease: &Lease,
        may_replace: &dyn Fn(&Lease) -> bool,
    ) -> Result<Result<bool, Denied>, StoreError> {
        let mine = || matches!(self.may_still_be(name), Ok(Ok(())));
        let taken = self
            .store
            .take(name, lease, &|other| may_replace(other) && mine())?;
        let may = self.may_still_be(name);
        if taken && !matches!(may, Ok(Ok(()))) {
            self.store
                .give_back(name, &|other| other.token == lease.token)?;
        }
        Ok(may?.map(|()| taken))
    }

    /// A name with the mark of one that is only claimed.
    fn marked(&self, name: &Name) -> String {
        match self.standing.trust() {
            Trust::Open => format!("~{name}"),
            Trust::Local => name.to_string(),
        }
    }

    /// Stores a message of a dialect whose clients do not name their messages.
    fn deliver(&self, to: &Name, from: &Name, body: &[u8]) -> Result<Receipt, StoreError> {
        let draft = Draft {
            id: new_id()?,
            from,
            trust: self.standing.trust(),
            at: unix_millis(),
            expires: None,
            // The id is new, so nobody can have sent this message before.
            once: false,
            body,
            fields: Fields::default(),
        };
        let receipt = self.store.deliver_one(Delivery { to, draft })?;
        self.ticket.count(Counter::Stored, 1);
        self.ticket.count(Counter::StoredBytes, body.len() as u64);
        Ok(receipt)
    }
}

/// In a test build, breaks the child that does what the environment says: it panics, or takes all the memory that
/// it can get, up to a bound that is kind to the machine of the test.
#[cfg(debug_assertions)]
fn break_as_asked(what: &str) {
    let asked = |name| std::env::var_os(name).is_some_and(|asked| asked == what);
    assert!(!asked("DROPLINED_PANIC"), "as asked");
    if asked("DROPLINED_HOARD") {
        let hoard: Vec<_> = (0..512).map(|_| vec![1_u8; 1 << 20]).collect();
        std::hint::black_box(hoard);
    }
}

fn new_id() -> Result<MessageId, StoreError> {
    MessageId::random().map_err(|e| StoreError::Failed {
        action: "draw a random id from",
        place: "the kernel".into(),
        source: e,
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
        | StoreError::Unavailable { .. }
        | StoreError::Order { .. }
        | StoreError::Unusable { .. }
        | StoreError::Failed { .. } => return None,
    })
}
