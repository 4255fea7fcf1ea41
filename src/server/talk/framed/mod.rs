//! The framed dialect: one command a connection, as the old chat client speaks it.
//!
//! It has no words for errors. What cannot be done ends the connection, and the log says why.

use std::io;
use std::net::SocketAddr;

mod frames;
mod replies;

use self::replies::{Queue, list, queue};
use super::{Outcome, Talk};
use crate::name::Name;
use crate::server::presence;
use crate::server::scoreboard::Counter;
use crate::store::{Lease, Speaks, StoreError};
use crate::wire::framed::{self as wire, Command, Order};

/// Who has sent a message that does not say it.
const NOBODY: &str = "unknown";

/// What is given up in the middle.
enum Stop {
    /// The connection is broken.
    Broken(io::Error),
    /// The store has failed, while this was done.
    Store(String, StoreError),
    /// The client did not go on.
    Client(Outcome),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// For `map_err`: what was done when the store failed.
fn doing(what: impl Into<String>) -> impl FnOnce(StoreError) -> Stop {
    let what = what.into();
    move |error| Stop::Store(what, error)
}

/// One client, and how it writes its frames.
struct Client<'t, 'a> {
    talk: &'t mut Talk<'a>,
    order: Option<Order>,
}

impl Talk<'_> {
    /// Serves a client of the framed dialect that has said something.
    pub(super) fn framed(&mut self) -> io::Result<Outcome> {
        self.connection.send_at_once()?;
        let mut client = Client {
            talk: self,
            order: None,
        };
        let outcome = client.serve();
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(Stop::Broken(e)) => return Err(e),
            Err(Stop::Client(outcome)) => outcome,
            Err(Stop::Store(what, e)) if super::reason(&e).is_some() => {
                Outcome::Refused(format!("{what}: {e}"))
            }
            Err(Stop::Store(what, e)) => Outcome::Failed(format!("{what}: {e}")),
        };
        if !matches!(outcome, Outcome::Broken(_)) {
            self.connection.finish(false);
        }
        Ok(outcome)
    }
}

impl Client<'_, '_> {
    fn serve(&mut self) -> Result<Outcome, Stop> {
        let text = self.frame()?;
        if let Err(denied) = self.talk.standing.may_come() {
            return Ok(Outcome::Refused(denied.to_string()));
        }
        let Some(command) = Command::parse(&text) else {
            return Ok(Outcome::Garbage("no command of the framed dialect".into()));
        };
        if command == Command::Who {
            return self.who();
        }
        let text = self.frame()?;
        let name = match Name::new(&text) {
            Ok(name) if command != Command::Register || wire::is_registrable(&name) => name,
            _ if command == Command::Register => {
                // The one answer that makes the client ask for another name.
                self.say(wire::IS_ONLINE)?;
                let why = "the name is not 3 to 15 bytes out of A-Z a-z 0-9 _ -";
                return Ok(Outcome::Refused(format!("register: {why}")));
            }
            Ok(name) => name,
            Err(_) if command == Command::Send => {
                self.say(wire::NOT_REGISTERED)?;
                return Ok(Outcome::Refused("send: the recipient is no name".into()));
            }
            Err(e) => return Ok(Outcome::Refused(e.to_string())),
        };
        if command != Command::Send
            && let Err(denied) = self.talk.may_be(&name).map_err(doing("who may"))?
        {
            if command == Command::Register {
                self.say(wire::IS_ONLINE)?;
            }
            return Ok(Outcome::Refused(denied.to_string()));
        }
        let verb = String::from_utf8_lossy(command.text());
        // A recipient is nobody's claim to be it.
        let who = match command {
            Command::Send => name.to_string(),
            _ => self.talk.marked(&name),
        };
        self.talk.doing(&format!("{verb} {who}"));
        match command {
            Command::Register => self.register(&name),
            Command::Quit => self.quit(&name),
            Command::Deregister => self.deregister(&name),
            Command::Send | Command::Who => self.send(&name),
        }
    }

    /// Two who register one name at once are told apart by a reservation, before either has said its address.
    fn register(&mut self, name: &Name) -> Result<Outcome, Stop> {
        let what = format!("register {name}");
        let store = self.talk.store;
        let peer = self.talk.peer.ip();
        let reserved = presence::lease(None, Speaks::Text, peer, self.talk.config.request_timeout)
            .map_err(doing(&what))?;
        let ours = |lease: &Lease| lease.token == reserved.token;
        let taken = self.talk.take(name, &reserved, &|_| false);
        let why = match taken.map_err(doing(&what))? {
            Ok(true) => None,
            Ok(false) => Some("it is online".into()),
            Err(denied) => Some(denied.to_string()),
        };
        if let Some(why) = why {
            self.say(wire::IS_ONLINE)?;
            return Ok(Outcome::Refused(format!("{what}: {why}")));
        }
        let registered = self.register_reserved(name, &reserved, &what);
        if registered.is_err() {
            // One that did not go on is not online.
            store
                .give_back(name, &|lease| ours(lease) && lease.address.is_none())
                .map_err(doing(&what))?;
        }
        registered
    }

    fn register_reserved(
        &mut self,
        name: &Name,
        reserved: &Lease,
        what: &str,
    ) -> Result<Outcome, Stop> {
        let store = self.talk.store;
        // A mailbox makes a name known as well: what waits in it is for whoever registers.
        let peeked = store.peek(name).map_err(doing(what))?;
        let waiting = peeked.map_or(Ok(0), |mailbox| mailbox.waiting());
        let known = waiting.map_err(doing(what))? > 0
            || store.registered(name).map_err(doing(what))?.is_some();
        self.say(if known { wire::IS_KNOWN } else { wire::DONE })?;
        let said = self.frame()?;
        let told = wire::decode_address(&said);
        let Some(address) = told.and_then(|told| presence::seen(told, self.talk.peer)) else {
            let why = "it did not name an address of the family it connected with";
            return Err(Stop::Client(Outcome::Refused(format!("{what}: {why}"))));
        };
        self.still(name, what)?;
        store
            .register(name, crate::sys::clock::unix_millis())
            .map_err(doing(what))?;
        let lease = Lease {
            address: Some(address),
            until: presence::until(self.talk.config.framed_lease),
            ..*reserved
        };
        let ours = |other: &Lease| other.token == reserved.token;
        let why = match self.talk.take(name, &lease, &ours).map_err(doing(what))? {
            Ok(true) => None,
            Ok(false) => Some("somebody else has it by now".into()),
            Err(denied) => Some(denied.to_string()),
        };
        if let Some(why) = why {
            return Err(Stop::Client(Outcome::Refused(format!("{what}: {why}"))));
        }
        if known {
            return self.hand_out(name, address);
        }
        self.say(wire::DONE)?;
        Ok(Outcome::Done(format!("{what} at {address}: a new name")))
    }

    /// Ends the command if a login has claimed the name since it began.
    fn still(&self, name: &Name, what: &str) -> Result<(), Stop> {
        let may = self.talk.may_still_be(name).map_err(doing(what))?;
        may.map_err(|denied| Stop::Client(Outcome::Refused(format!("{what}: {denied}"))))
    }

    /// Hands out what waits, as far as it goes into one frame.
    fn hand_out(&mut self, name: &Name, address: SocketAddr) -> Result<Outcome, Stop> {
        let what = format!("register {name} at {address}");
        let store = self.talk.store;
        let mut waiting = match store.fetch(name) {
            Ok(waiting) => waiting,
            Err(StoreError::Busy) => None,
            Err(e) => return Err(Stop::Store(what, e)),
        };
        // We may have waited for another reader.
        self.still(name, &what)?;
        let queue = match &mut waiting {
            Some(waiting) => queue(waiting.as_mut()).map_err(doing(&what))?,
            None => Queue::default(),
        };
        if queue.text.is_empty() {
            self.say(wire::NO_MESSAGES)?;
            return Ok(Outcome::Done(format!("{what}: 0 messages")));
        }
        self.say(wire::MESSAGES)?;
        self.say(&queue.text)?;
        let delivered = self
            .talk
            .connection
            .delivered(self.talk.config.delivery_timeout);
        let count = queue.count;
        if !delivered {
            let how = format!("{what}: {count} messages not delivered, they stay waiting");
            return Ok(Outcome::Broken(how));
        }
        self.talk.ticket.proved();
        if let (Some(waiting), Some(last)) = (&mut waiting, queue.last) {
            // What its owner has not seen stays, if that is another one by now.
            self.still(name, &format!("{what}: {count} messages stay waiting"))?;
            waiting.acknowledge(last).map_err(doing(&what))?;
            self.talk.ticket.count(Counter::Delivered, count);
        }
        Ok(Outcome::Done(format!("{what}: {count} messages delivered")))
    }

    fn who(&mut self) -> Result<Outcome, Stop> {
        let store = self.talk.store;
        let names = store.names().map_err(doing("who"))?;
        let online = store.online().map_err(doing("who"))?;
        self.say(&list(&names, |name| {
            online
                .binary_search_by(|(other, _)| other.cmp(name))
                .is_ok()
        }))?;
        Ok(Outcome::Done(format!("who: {} names", names.len())))
    }

    fn quit(&mut self, name: &Name) -> Result<Outcome, Stop> {
        let what = format!("quit {name}");
        let was = self.talk.store.give_back(name, &|_| true);
        Ok(Outcome::Done(if was.map_err(doing(&what))? {
            what
        } else {
            what + ": it was not online"
        }))
    }

    fn deregister(&mut self, name: &Name) -> Result<Outcome, Stop> {
        let what = format!("deregister {name}");
        let store = self.talk.store;
        let was = store.deregister(name).map_err(doing(&what))?;
        store.give_back(name, &|_| true).map_err(doing(&what))?;
        Ok(Outcome::Done(if was {
            what
        } else {
            what + ": it was not registered"
        }))
    }

    fn send(&mut self, to: &Name) -> Result<Outcome, Stop> {
        let what = format!("send {to}");
        let store = self.talk.store;
        if store.registered(to).map_err(doing(&what))?.is_none() {
            self.say(wire::NOT_REGISTERED)?;
            return Ok(Outcome::Done(format!("{what}: it is not registered")));
        }
        let lease = store.lease(to).map_err(doing(&what))?;
        if let Some(address) = presence::reachable(lease.as_ref(), self.talk.peer) {
            self.say(wire::SEND_TO)?;
            self.say(&wire::encode_address(address))?;
            return Ok(Outcome::Done(format!("{what}: it is at {address}")));
        }
        self.say(wire::SEND_HERE)?;
        let text = self.frame()?;
        let (from, body) = wire::decode_message(&text);
        let from = match from {
            Some(from) => from,
            None => match NOBODY.parse() {
                Ok(nobody) => nobody,
                Err(_) => return Ok(Outcome::Refused(format!("{what}: no sender"))),
            },
        };
        if let Err(denied) = self.talk.may_be(&from).map_err(doing(&what))? {
            return Ok(Outcome::Refused(format!("{what}: {denied}")));
        }
        let most = self.talk.config.max_body;
        if body.is_empty() || body.len() > most {
            let len = body.len();
            let why = format!("a message of {len} bytes: 1 to {most} are allowed");
            let from = self.talk.marked(&from);
            return Ok(Outcome::Refused(format!("{what} from {from}: {why}")));
        }
        let who = self.talk.marked(&from);
        let what = format!("{what} from {who}, {} bytes", body.len());
        self.talk.ticket.proved();
        let receipt = self.talk.deliver(to, &from, body).map_err(doing(&what))?;
        Ok(Outcome::Done(format!(
            "{what}: accepted as {to}/{}",
            receipt.seq
        )))
    }
}
