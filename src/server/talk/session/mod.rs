//! The session dialect: many requests on one connection, pipelined.
//!
//! Requests that have arrived are processed together. Consecutive `SEND`s are one batch, which waits for the disk once.

mod mailbox;
mod presence;
mod send;
mod state;
mod watch;

use std::io;
use std::time::{Duration, Instant};

use self::send::Batch;
use self::state::{Session, SessionError};
use super::conversation::{Conversation, GATHER};
use super::outcome::Outcome;
use crate::server::connection::{MOST_READ, Received};
use crate::server::phase::Phase;
use crate::sys::clock::Deadline;
use crate::wire::code::Code;
use crate::wire::session::{AnswerLine, Parsed, Request, VERSION, decode_request};

/// The number of bytes of requests that are processed together.
const READ_AHEAD: usize = 256 * 1024;
/// The interval between checks whether a silent client may keep its lease on the mailbox. It is shorter than the time
/// that the owner of the name waits for the lease.
const LOOK: Duration = Duration::from_secs(1);

/// Serves a client of the session dialect that has sent its first bytes.
pub(super) fn serve(talk: &mut Conversation<'_>) -> io::Result<Outcome> {
    talk.connection.send_at_once()?;
    talk.connection.expect_many();
    let mut session = Session::new(talk);
    let end = match session.serve() {
        Err(end) => end,
        Ok(()) => SessionError::Over,
    };
    let what = session.summary();
    match end {
        SessionError::Broken(e) if e.kind() == io::ErrorKind::TimedOut => Ok(Outcome::Slow(
            format!("{what}; the client did not read in time"),
        )),
        SessionError::Broken(e) => Ok(Outcome::Broken(format!(
            "{what}; the connection broke: {e}"
        ))),
        end => {
            let sent = session.flush();
            let refused = match session.denied.take() {
                Some(why) if session.greeted => Some(format!("{what}; {why}")),
                Some(why) => Some(format!("session of {}: {why}", session.whose())),
                None => (!session.greeted).then(|| what.clone()),
            };
            talk.connection.finish(false);
            sent.map(|()| match (end, refused) {
                (SessionError::Slow, _) => Outcome::HalfSaid(what),
                (SessionError::Garbage, _) => Outcome::Garbage(what),
                (_, Some(why)) => Outcome::Refused(why),
                (_, None) => Outcome::Done(what),
            })
        }
    }
}

impl Session<'_, '_> {
    /// Processes requests until the session ends.
    fn serve(&mut self) -> Result<(), SessionError> {
        // The number of bytes to skip: the rest of a refused request.
        let mut skip = 0;
        let mut began = Instant::now();
        loop {
            let received = std::mem::take(&mut self.talk.received);
            let (done, left) = self.work(&received, &mut skip)?;
            self.talk.received = received;
            self.talk.received.drain(..done);
            if done > 0 {
                began = Instant::now();
                self.active = began;
            }
            if left {
                return Ok(());
            }
            self.push()?;
            self.flush()?;
            self.wait(&mut began, skip > 0)?;
        }
    }

    /// Processes the received bytes. Returns how many were processed, and whether the client has sent `QUIT`.
    fn work(&mut self, received: &[u8], skip: &mut usize) -> Result<(usize, bool), SessionError> {
        let mut at = 0;
        let mut batch = Batch::default();
        loop {
            let skipped = (*skip).min(received.len() - at);
            at += skipped;
            *skip -= skipped;
            let next = &received[at..];
            let parsed = if *skip > 0 || next.is_empty() {
                Parsed::Incomplete
            } else {
                decode_request(next, self.talk.config.max_body)
            };
            match parsed {
                Parsed::Incomplete => {
                    self.deliver(&mut batch);
                    return Ok((at, false));
                }
                Parsed::Request(Request::Send { to, id, ttl, body }, len) if self.greeted => {
                    self.send(&mut batch, to, id, ttl, body);
                    at += len;
                }
                Parsed::Request(request, len) => {
                    self.deliver(&mut batch);
                    let leaves = request == Request::Quit;
                    match self.answer(request) {
                        Err(SessionError::Told) => {}
                        answered => answered?,
                    }
                    at += len;
                    if leaves {
                        return Ok((at, true));
                    }
                }
                Parsed::Wrong(code, text, next) => {
                    self.deliver(&mut batch);
                    self.error(code, text);
                    if !self.greeted {
                        return Err(SessionError::Over);
                    }
                    *skip = next;
                }
                Parsed::Lost(code, text) => {
                    self.deliver(&mut batch);
                    self.error(code, text);
                    return Err(SessionError::Garbage);
                }
            }
            if self.out.len() >= GATHER {
                self.flush()?;
            }
        }
    }

    fn answer(&mut self, request: Request<'_>) -> Result<(), SessionError> {
        if !self.greeted {
            return match request {
                Request::Hello { name } => self.hello(name),
                _ => {
                    self.error(Code::Syntax, format!("HELLO {VERSION} comes first"));
                    Err(SessionError::Over)
                }
            };
        }
        if request == Request::Quit {
            return self.ok();
        }
        self.may_go_on()?;
        match request {
            Request::Hello { .. } => Err(self.error(Code::Syntax, "HELLO was said already")),
            // SEND goes through the batch, and QUIT was answered.
            Request::Send { .. } | Request::Quit => Ok(()),
            Request::Fetch { max, peek } => self.fetch(max, peek),
            Request::Ack(seq) => self.acknowledge(seq),
            Request::Watch => self.watch(),
            Request::History { before, max } => self.history(before, max),
            Request::Status { to, seq } => self.status(&to, seq),
            Request::Online {
                port,
                addr,
                token,
                secret,
            } => self.online(port, addr, token, secret),
            Request::Renew { token, secret } => self.renew(token, secret),
            Request::Offline { token } => self.offline(token),
            Request::Deregister => self.deregister(),
            Request::Who { after, max } => self.who(after.as_ref(), max),
            Request::Lookup(name) => self.lookup(&name),
        }
    }

    /// Waits for input, a new message in the mailbox, or a timeout.
    fn wait(&mut self, began: &mut Instant, in_request: bool) -> Result<(), SessionError> {
        let in_request = in_request || !self.talk.received.is_empty();
        let request = self.talk.config.request_timeout;
        let limit = match &self.watch {
            Some(watch) if watch.more => Duration::ZERO,
            Some(watch) if !in_request => watch.ping.left(),
            _ if in_request => request.saturating_sub(began.elapsed()),
            _ => self.talk.config.idle_timeout,
        };
        let (what, since) = match &self.watch {
            _ if in_request => (Phase::Request, *began),
            Some(_) => (Phase::Watch, self.active),
            None => (Phase::Idle, self.active),
        };
        self.talk.connection.expect_since(what, since);
        let before = self.talk.received.len();
        let deadline = Deadline::after(limit);
        let received = loop {
            let step = if self.is_in_the_way() {
                deadline.left().min(LOOK)
            } else {
                deadline.left()
            };
            let bell = self.watch.as_ref().map(|watch| watch.bell.fd());
            let connection = &mut self.talk.connection;
            let received = match connection.receive_or_hear(&mut self.talk.received, step, bell)? {
                Received::Ending if in_request => {
                    connection.receive_rest(&mut self.talk.received, step)?
                }
                received => received,
            };
            if received != Received::Silence || deadline.passed() {
                break received;
            }
            self.drop_lost_lease();
        };
        match received {
            Received::Bytes => {
                if before == 0 && !in_request {
                    *began = Instant::now();
                }
                self.read_ahead(before)
            }
            Received::Bell => {
                self.rang();
                Ok(())
            }
            Received::End => Err(SessionError::Over),
            Received::Ending => {
                self.error(Code::Shutdown, "the server ends; try again later");
                Err(SessionError::Over)
            }
            Received::Silence if self.watch.as_ref().is_some_and(|watch| watch.more) => Ok(()),
            Received::Silence if self.watch.is_some() && !in_request => {
                AnswerLine::begin(&mut self.out, "PING").end();
                self.pinged();
                Ok(())
            }
            Received::Evicted if !in_request => {
                let text = "too many connections only wait; connect again later";
                self.error(Code::Timeout, text);
                Err(SessionError::Over)
            }
            Received::Silence | Received::Evicted => {
                self.error(Code::Timeout, "nothing came for too long");
                Err(if in_request {
                    SessionError::Slow
                } else {
                    SessionError::Over
                })
            }
        }
    }

    /// Reads more input that has already arrived: requests that are processed together cost less.
    fn read_ahead(&mut self, mut before: usize) -> Result<(), SessionError> {
        let talk = &mut *self.talk;
        while talk.received.len() - before == MOST_READ && talk.received.len() < READ_AHEAD {
            before = talk.received.len();
            match talk
                .connection
                .receive(&mut talk.received, Duration::ZERO)?
            {
                Received::Bytes => {}
                // The next wait reports this again, after the requests so far are done.
                _ => break,
            }
        }
        Ok(())
    }
}
