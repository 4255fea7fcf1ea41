//! The line dialect: one request, one reply, close.

use std::io;
use std::time::Duration;

use super::{Outcome, Talk, reason};
use crate::name::Name;
use crate::server::connection::{Pace, Received};
use crate::server::scoreboard::Counter;
use crate::server::who_may::Denied;
use crate::store::{StoreError, Waiting};
use crate::wire::line::{self as wire, Refusal, Request};

/// How many bytes of messages are gathered before they are sent.
const GATHER: usize = 32 * 1024;

/// How long nothing must come after `received` for it to be a whole request without a newline: the old
/// client sends none, and waits for the reply.
///
/// What is longer than one packet may have lost another one on its way, which takes the kernels some
/// 200 ms to mend: it gets more time, so that no message is cut.
pub(super) fn silence(received: &[u8]) -> Duration {
    const ONE_PACKET: usize = 1_200;
    let millis = if received.len() <= ONE_PACKET {
        150
    } else {
        1_000
    };
    Duration::from_millis(millis)
}

/// A request as it came in, and where in the bytes it ends.
struct Line {
    len: usize,
    /// Whether the client may be in the middle of saying more.
    more_comes: bool,
}

impl Talk<'_> {
    /// Serves a client of the line dialect that has said something.
    pub(super) fn line(&mut self) -> io::Result<Outcome> {
        self.ticket.count(Counter::Line, 1);
        let Some(line) = self.read_line()? else {
            return self.too_slow();
        };
        let received = std::mem::take(&mut self.received);
        let request = wire::parse(&received[..line.len], self.config.max_body);
        let may = self.standing.may_come();
        let request = may
            .map_err(|denied| Refusal::Other(denied.to_string()))
            .and(request);
        match request {
            Ok(Request::Store { to, from, body }) => match self.may_be(&from) {
                Ok(Ok(())) => self.store(&to, &from, body, line.more_comes),
                Ok(Err(denied)) => self.deny(&denied, line.more_comes),
                Err(e) => self.fail(&e, &format!("store {to}"), line.more_comes),
            },
            Ok(Request::Fetch { of }) => {
                drop(received);
                match self.may_be(&of) {
                    Ok(Ok(())) => self.fetch(&of, line.more_comes),
                    Ok(Err(denied)) => self.deny(&denied, line.more_comes),
                    Err(e) => self.fail(&e, &format!("fetch {of}"), line.more_comes),
                }
            }
            Err(refusal) => {
                let outcome = self.refuse(&refusal, line.more_comes)?;
                Ok(match (refusal, outcome) {
                    (Refusal::BadVerb | Refusal::NoVerb, Outcome::Refused(why)) => {
                        Outcome::Garbage(why)
                    }
                    (_, outcome) => outcome,
                })
            }
        }
    }

    /// Reads up to the end of the request; `None` when it does not come in time.
    fn read_line(&mut self) -> io::Result<Option<Line>> {
        let most = self.config.max_body + wire::MOST_OVERHEAD;
        loop {
            if let Some((line, next)) = wire::first_line(&self.received) {
                let more_comes = next < self.received.len();
                return Ok(Some(Line {
                    len: line.len(),
                    more_comes,
                }));
            }
            if self.received.len() > most {
                // Whatever it is, it is too long: what stands at its head tells how to say so.
                return Ok(Some(Line {
                    len: self.received.len(),
                    more_comes: true,
                }));
            }
            if self.deadline.passed() {
                return Ok(None);
            }
            let limit = silence(&self.received).min(self.deadline.left());
            match self.connection.receive(&mut self.received, limit)? {
                Received::Bytes | Received::Bell => {}
                Received::Silence if self.deadline.passed() => return Ok(None),
                Received::End | Received::Silence | Received::Ending => {
                    let len = wire::last_line(&self.received).len();
                    return Ok(Some(Line {
                        len,
                        more_comes: false,
                    }));
                }
            }
        }
    }

    fn store(&mut self, to: &Name, from: &Name, body: &[u8], more: bool) -> io::Result<Outcome> {
        self.doing(&format!("store {to}"));
        self.ticket.proved();
        let stored = self.deliver(to, from, body);
        match stored {
            Ok(receipt) => {
                self.reply(wire::ACCEPTED, more)?;
                let (bytes, seq) = (body.len(), receipt.seq);
                let from = self.marked(from);
                Ok(Outcome::Done(format!(
                    "store {to}/{seq} from {from}, {bytes} bytes: accepted"
                )))
            }
            Err(e) => self.fail(&e, &format!("store {to} from {}", self.marked(from)), more),
        }
    }

    fn fetch(&mut self, of: &Name, more: bool) -> io::Result<Outcome> {
        self.doing(&format!("fetch {}", self.marked(of)));
        let store = self.store;
        let mut waiting = match store.fetch(of) {
            Ok(Some(waiting)) => waiting,
            Ok(None) => {
                self.reply(&[wire::RETRIEVING, wire::NO_SUCH_NAME].concat(), more)?;
                return Ok(Outcome::Done(format!("fetch {of}: no such name")));
            }
            Err(e) => return self.fail(&e, &format!("fetch {of}"), more),
        };
        // We may have waited for another reader.
        match self.may_still_be(of) {
            Ok(Ok(())) => {}
            Ok(Err(denied)) => return self.deny(&denied, more),
            Err(e) => return self.fail(&e, &format!("fetch {of}"), more),
        }
        let sent = self.send_waiting(of, waiting.as_mut());
        let (count, last) = match sent {
            Ok(Ok(sent)) => sent,
            Ok(Err(e)) => return self.fail(&e, &format!("fetch {of}"), more),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                return Ok(Outcome::Slow(format!(
                    "fetch {of}: not delivered: the client did not read in time"
                )));
            }
            Err(e) => return Ok(Outcome::Broken(format!("fetch {of}: not delivered: {e}"))),
        };
        let Some(last) = last else {
            self.connection.finish(more);
            return Ok(Outcome::Done(format!("fetch {of}: 0 messages")));
        };
        if !self.connection.delivered(self.config.delivery_timeout) {
            let what = format!("fetch {of}: {count} messages not delivered, they stay waiting");
            return Ok(Outcome::Broken(what));
        }
        self.ticket.proved();
        // What its owner has not seen stays, if that is another one by now.
        if let Ok(Err(denied)) = self.may_still_be(of) {
            let what = format!("fetch {of}: {count} messages stay waiting: {denied}");
            return Ok(Outcome::Refused(what));
        }
        match waiting.acknowledge(last) {
            Ok(()) => {
                self.ticket.count(Counter::Delivered, count);
                Ok(Outcome::Done(format!(
                    "fetch {of}: {count} messages delivered"
                )))
            }
            Err(e) => Ok(Outcome::Failed(format!(
                "fetch {of}: delivered, but not noted: {e}"
            ))),
        }
    }

    /// Sends the whole reply to a fetch; how many messages that were, and the number of the last.
    fn send_waiting(
        &mut self,
        of: &Name,
        waiting: &mut dyn Waiting,
    ) -> io::Result<Result<(u64, Option<u64>), StoreError>> {
        let mut pace = Pace::new(self.config.request_timeout);
        let mut reply = wire::RETRIEVING.to_vec();
        let (mut count, mut last) = (0, None);
        loop {
            match waiting.next() {
                Ok(Some(message)) => {
                    wire::encode_message(&mut reply, of, &message.from, message.body);
                    count += 1;
                    last = Some(message.seq);
                }
                Ok(None) => break,
                Err(e) => return Ok(Err(e)),
            }
            if reply.len() >= GATHER {
                self.connection.send(&reply, &mut pace)?;
                reply.clear();
            }
        }
        reply.extend_from_slice(wire::NO_MORE);
        self.connection.send(&reply, &mut pace)?;
        Ok(Ok((count, last)))
    }

    fn refuse(&mut self, refusal: &Refusal, more: bool) -> io::Result<Outcome> {
        let reply = refusal.to_string();
        self.reply(reply.as_bytes(), more)?;
        Ok(Outcome::Refused(reply.trim_end().to_owned()))
    }

    fn deny(&mut self, denied: &Denied, more: bool) -> io::Result<Outcome> {
        self.refuse(&Refusal::Other(denied.to_string()), more)
    }

    /// Tells a client what the store did not do: what it can do something about in words, the rest to
    /// the log.
    fn fail(&mut self, error: &StoreError, what: &str, more: bool) -> io::Result<Outcome> {
        let Some((_, reason)) = reason(error) else {
            self.reply(wire::INTERNAL_ERROR, more)?;
            return Ok(Outcome::Failed(format!("{what}: {error}")));
        };
        self.refuse(&Refusal::Other(reason.into()), more)
            .map(|_| Outcome::Refused(format!("{what}: {error}")))
    }

    /// Ends the connection of a client that has not said its request in time.
    pub(super) fn too_slow(&mut self) -> io::Result<Outcome> {
        let refusal = Refusal::Other("Timeout: the request did not come in time".into());
        self.refuse(&refusal, true).map(|outcome| match outcome {
            Outcome::Refused(why) => Outcome::Slow(why),
            outcome => outcome,
        })
    }
}
