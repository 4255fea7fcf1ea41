//! The framed dialect of the old chat client: one command for each connection.
//!
//! It has no error replies. A command that fails ends the connection, and the log has the reason.

mod frames;
mod queue;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use self::frames::Frames;
use self::queue::{FrameQueue, queue};
use super::conversation::Conversation;
use super::lease;
use super::outcome::{Outcome, Stop, doing};
use crate::message::Speaks;
use crate::name::Name;
use crate::server::principal::{Act, Refused};
use crate::server::scoreboard::Counter;
use crate::store::{Lease, StoreError};
use crate::wire::framed::{self as wire, Command};

/// How long the kernel of a client whose user writes a message may not answer before the connection breaks.
const VANISHED: Duration = Duration::from_secs(90);
/// The sender of a message that names none.
const NO_SENDER: &str = "unknown";

/// Serves a client of the framed dialect that has sent something.
pub(super) fn serve(talk: &mut Conversation<'_>) -> io::Result<Outcome> {
    talk.connection.send_at_once()?;
    let mut frames = Frames::new(talk);
    let outcome = match frames.serve() {
        Ok(outcome) | Err(Stop::Ended(outcome)) => outcome,
        Err(Stop::Broken(e)) => return Err(e),
        Err(Stop::Refused(what, refused)) if refused.declined().is_some() => {
            Outcome::Refused(format!("{what}: {refused}"))
        }
        Err(Stop::Refused(what, refused)) => Outcome::Failed(format!("{what}: {refused}")),
    };
    if !matches!(outcome, Outcome::Broken(_)) {
        talk.connection.finish(false);
    }
    Ok(outcome)
}

impl Frames<'_, '_> {
    fn serve(&mut self) -> Result<Outcome, Stop> {
        let text = self.hear()?;
        self.may_go_on()?;
        let Some(command) = Command::parse(&text) else {
            return Ok(Outcome::Garbage("no command of the framed dialect".into()));
        };
        if command == Command::Who {
            return self.who();
        }
        let text = self.hear()?;
        // The configuration may have changed while the client sent its name.
        self.may_go_on()?;
        let name = match Name::new(&text) {
            Ok(name) if command != Command::Register || wire::is_registrable(&name) => name,
            _ if command == Command::Register => {
                // Only this reply makes the client ask for another name.
                self.say(wire::IS_ONLINE)?;
                let why = format!("register: the name is not {}", wire::REGISTRABLE);
                return Ok(Outcome::Refused(why));
            }
            Ok(name) => name,
            Err(_) if command == Command::Send => {
                self.say(wire::NOT_REGISTERED)?;
                return Ok(Outcome::Refused("send: the recipient is no name".into()));
            }
            Err(e) => return Ok(Outcome::Refused(e.to_string())),
        };
        let verb = String::from_utf8_lossy(command.text());
        // A client that sends to a name does not act as that name.
        let who = if command == Command::Send {
            name.to_string()
        } else {
            let may = self.talk.may(Act::As(&name));
            if command == Command::Register && matches!(may, Err(Refused::Denied(_))) {
                self.say(wire::IS_ONLINE)?;
            }
            may.map_err(doing(|| format!("{verb} {name}")))?;
            self.talk.marked(&name)
        };
        self.talk
            .doing(&format!("framed {verb}"), &format!("{verb} {who}"));
        match command {
            Command::Register => self.register(&name),
            Command::Quit => self.quit(&name),
            Command::Deregister => self.deregister(&name),
            Command::Send | Command::Who => self.send(&name),
        }
    }

    /// Checks that the client may still make a request at all. It is not told why not: the dialect has no words for it.
    fn may_go_on(&self) -> Result<(), Stop> {
        let may = self.talk.may(Act::Ask);
        may.map_err(|refused| Stop::Ended(Outcome::Refused(refused.to_string())))
    }

    /// Registers a name. Of two clients that register the same name at once, a reservation excludes the second before
    /// either has sent its address.
    fn register(&mut self, name: &Name) -> Result<Outcome, Stop> {
        let what = format!("register {name}");
        let peer = self.talk.peer.ip();
        let reserved = lease::new(None, Speaks::Text, peer, self.talk.config.request_timeout)
            .map_err(doing(|| &what))?;
        let why = match self.talk.take_lease(name, &reserved, &|_| false) {
            Ok(true) => None,
            Ok(false) => Some("it is online".into()),
            Err(Refused::Denied(denied)) => Some(denied.to_string()),
            Err(e) => return Err(doing(|| what)(e)),
        };
        if let Some(why) = why {
            self.say(wire::IS_ONLINE)?;
            return Ok(Outcome::Refused(format!("{what}: {why}")));
        }
        let registered = self.register_reserved(name, &reserved, &what);
        if registered.is_err() {
            // The client did not finish: it is not online.
            let ours = |lease: &Lease| lease.token == reserved.token && lease.address.is_none();
            self.talk
                .store
                .give_back(name, &ours)
                .map_err(doing(|| what))?;
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
        // A name with waiting messages counts as known: the messages are for the client that registers.
        let mut waiting = store.peek(name).map_err(doing(|| what))?;
        let first = waiting.as_mut().map(|mailbox| mailbox.next());
        let is_waiting = first
            .transpose()
            .map_err(doing(|| what))?
            .flatten()
            .is_some();
        let known = is_waiting || store.registered(name).map_err(doing(|| what))?.is_some();
        self.say(if known { wire::IS_KNOWN } else { wire::DONE })?;
        let said = self.hear()?;
        let told = wire::decode_address(&said);
        let Some(address) = told.and_then(|told| lease::seen(told, self.talk.peer)) else {
            let why = "it did not name an address of the family it connected with";
            return Err(Stop::Ended(Outcome::Refused(format!("{what}: {why}"))));
        };
        self.talk.register(name).map_err(doing(|| what))?;
        let lease = Lease {
            address: Some(address),
            until: lease::until(self.talk.config.framed_lease),
            ..*reserved
        };
        let ours = |other: &Lease| other.token == reserved.token;
        let taken = self.talk.take_lease(name, &lease, &ours);
        if !taken.map_err(doing(|| what))? {
            let why = "another client has it by now";
            return Err(Stop::Ended(Outcome::Refused(format!("{what}: {why}"))));
        }
        if known {
            return self.hand_out(name, address);
        }
        self.say(wire::DONE)?;
        Ok(Outcome::Done(format!("{what} at {address}: a new name")))
    }

    /// Sends the waiting messages, as many as fit into one frame.
    fn hand_out(&mut self, name: &Name, address: SocketAddr) -> Result<Outcome, Stop> {
        let what = format!("register {name} at {address}");
        let store = self.talk.store;
        let mut waiting = match store.fetch(name) {
            Ok(waiting) => waiting,
            Err(StoreError::Busy) => None,
            Err(e) => return Err(doing(|| what)(e)),
        };
        // A login may have claimed the name while this process waited for another reader.
        self.talk.may(Act::StillAs(name)).map_err(doing(|| &what))?;
        let queue = match &mut waiting {
            Some(waiting) => queue(waiting.as_mut()).map_err(doing(|| &what))?,
            None => FrameQueue::default(),
        };
        if queue.text.is_empty() {
            self.say(wire::NO_MESSAGES)?;
            return Ok(Outcome::Done(format!("{what}: 0 messages")));
        }
        self.say(wire::MESSAGES)?;
        self.say(&queue.text)?;
        let talk = &mut *self.talk;
        let delivered = talk.connection.delivered(talk.config.delivery_timeout);
        let count = queue.count;
        if !delivered {
            let how = format!("{what}: {count} messages not delivered, they stay waiting");
            return Ok(Outcome::Broken(how));
        }
        talk.status.served();
        if let (Some(waiting), Some(last)) = (&mut waiting, queue.last) {
            // If a login has claimed the name by now, the claim has set the messages aside.
            talk.may(Act::StillAs(name)).map_err(doing(|| {
                format!("{what}: {count} messages are not acknowledged")
            }))?;
            waiting.acknowledge(last).map_err(doing(|| &what))?;
            talk.status.count(Counter::Delivered, count);
        }
        Ok(Outcome::Done(format!("{what}: {count} messages delivered")))
    }

    /// Receives the text of a message, which a person writes now. A client that is closed meanwhile dies with it (SIGPIPE),
    /// so only the master ends this wait, or a client that has vanished.
    fn hear_text(&mut self) -> Result<Vec<u8>, Stop> {
        self.talk.connection.give_up_after(VANISHED)?;
        self.talk.connection.check_for_life(VANISHED)?;
        let limit = self.talk.config.framed_lease;
        self.hear_within(limit)
    }

    fn who(&mut self) -> Result<Outcome, Stop> {
        let store = self.talk.store;
        let (mut names, mut others) = (Vec::new(), 0);
        let listed = store.registrations(None, &mut |name, _| {
            if names.len() < wire::MOST_LISTED {
                names.push(name.clone());
            } else {
                others += 1;
            }
            true
        });
        listed.map_err(doing(|| "who"))?;
        let is_online = |name: &Name| match store.lease(name) {
            Ok(lease) => lease.is_some_and(|lease| lease.address.is_some()),
            Err(e) => {
                log::error!("{}: who: {e}", self.talk.peer);
                false
            }
        };
        self.say(&wire::encode_list(&names, others, is_online))?;
        let count = names.len() + others;
        Ok(Outcome::Done(format!("who: {count} names")))
    }

    fn quit(&mut self, name: &Name) -> Result<Outcome, Stop> {
        let what = format!("quit {name}");
        let was = self.talk.store.give_back(name, &|_| true);
        Ok(Outcome::Done(if was.map_err(doing(|| &what))? {
            what
        } else {
            what + ": it was not online"
        }))
    }

    fn deregister(&mut self, name: &Name) -> Result<Outcome, Stop> {
        let what = format!("deregister {name}");
        let store = self.talk.store;
        let was = store.deregister(name).map_err(doing(|| &what))?;
        store.give_back(name, &|_| true).map_err(doing(|| &what))?;
        Ok(Outcome::Done(if was {
            what
        } else {
            what + ": it was not registered"
        }))
    }

    fn send(&mut self, to: &Name) -> Result<Outcome, Stop> {
        let what = format!("send {to}");
        let store = self.talk.store;
        // A claim ends the presence of another client that has used the name of a login.
        self.talk
            .owners
            .claim_recipient(to)
            .map_err(doing(|| &what))?;
        if store.registered(to).map_err(doing(|| &what))?.is_none() {
            self.say(wire::NOT_REGISTERED)?;
            return Ok(Outcome::Done(format!("{what}: it is not registered")));
        }
        let lease = store.lease(to).map_err(doing(|| &what))?;
        if let Some(address) = lease::reachable(lease.as_ref(), self.talk.peer) {
            self.say(wire::SEND_TO)?;
            self.say(&wire::encode_address(address))?;
            return Ok(Outcome::Done(format!("{what}: it is at {address}")));
        }
        self.say(wire::SEND_HERE)?;
        let text = self.hear_text()?;
        let (from, body) = wire::decode_message(&text);
        let from = match from {
            Some(from) => from,
            None => match NO_SENDER.parse() {
                Ok(name) => name,
                Err(_) => return Ok(Outcome::Refused(format!("{what}: no sender"))),
            },
        };
        self.talk.may(Act::As(&from)).map_err(doing(|| &what))?;
        let most = self.talk.config.max_body;
        if body.is_empty() || body.len() > most {
            let len = body.len();
            let why = format!("a message of {len} bytes: 1 to {most} are allowed");
            let from = self.talk.marked(&from);
            return Ok(Outcome::Refused(format!("{what} from {from}: {why}")));
        }
        let who = self.talk.marked(&from);
        let what = format!("{what} from {who}, {} bytes", body.len());
        self.talk.status.served();
        let receipt = self
            .talk
            .deliver(to, &from, body)
            .map_err(doing(|| &what))?;
        Ok(Outcome::Done(format!(
            "{what}: accepted as {to}/{}",
            receipt.seq
        )))
    }
}
