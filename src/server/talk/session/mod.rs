//! The session dialect: many requests a connection, pipelined.
//!
//! What has come in is worked on as a whole: messages that are sent one behind the other are stored as one
//! batch, which waits for the disk once.

mod mailbox;
mod presence;
mod rights;
mod send;

use std::io;
use std::time::Duration;

use super::{Outcome, Talk, reason};
use crate::name::Name;
use crate::server::connection::{MOST_READ, Pace, Received};
use crate::server::scoreboard::Counter;
use crate::store::{Bell, StoreError, Waiting};
use crate::sys::clock::Deadline;
use crate::wire::session::{Code, Line, Parsed, Request, decode_request};

/// How many bytes of answers are gathered before they are sent.
const GATHER: usize = 32 * 1024;
/// How many bytes of requests are worked on at once.
const READ_AHEAD: usize = 256 * 1024;
/// How often somebody who watches, and gets nothing, is told that the server lives.
const PING: Duration = Duration::from_secs(30);
/// How often it is looked whether somebody who says nothing may keep the lease that they have on the mailbox: sooner
/// than its owner gives up waiting for it.
const LOOK: Duration = Duration::from_secs(1);
/// How long the kernel of somebody who watches may acknowledge nothing.
const VANISHED: Duration = Duration::from_secs(90);

/// A session, as far as it has come.
struct Session<'t, 'a> {
    talk: &'t mut Talk<'a>,
    /// Whose it is. Without a name one may only look around.
    name: Option<Name>,
    greeted: bool,
    /// Answers that were not sent yet.
    out: Vec<u8>,
    handed: Option<Handed<'a>>,
    watch: Option<Watch<'a>>,
    /// The highest number of a message that was shown to this session, in whatever way.
    shown: u64,
    /// Why the client was not let be whom it says, if it was not.
    denied: Option<String>,
    tally: Tally,
}

/// Messages that were handed out, and are leased until they are acknowledged.
struct Handed<'a> {
    waiting: Box<dyn Waiting + 'a>,
    /// The number of the last of them; 0 while there is none.
    last: u64,
    /// Up to which number they are acknowledged.
    acked: u64,
}

/// That the mailbox is watched.
struct Watch<'a> {
    bell: Box<dyn Bell + 'a>,
    /// Whether there may be messages that were not handed out yet.
    more: bool,
    /// When the client is told that we live.
    ping: Deadline,
}

/// What the session has done, for the log.
#[derive(Default)]
struct Tally {
    sent: u64,
    handed: u64,
    acknowledged: u64,
    errors: u64,
}

/// Why a session ends.
enum Stop {
    /// The connection is broken, or the client too slow to read.
    Broken(io::Error),
    /// The client was told, or needs not be.
    Over,
    /// The client was told that it took too long.
    Slow,
    /// What it says is not this dialect.
    Garbage,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl Talk<'_> {
    /// Serves a client of the session dialect that has said something.
    pub(super) fn session(&mut self) -> io::Result<Outcome> {
        self.connection.send_at_once()?;
        self.connection.expect_many();
        let mut session = Session {
            talk: self,
            name: None,
            greeted: false,
            out: Vec::new(),
            handed: None,
            watch: None,
            shown: 0,
            denied: None,
            tally: Tally::default(),
        };
        let stop = session.serve();
        let what = session.summary();
        match stop {
            Err(Stop::Broken(e)) if e.kind() == io::ErrorKind::TimedOut => Ok(Outcome::Slow(
                format!("{what}; the client did not read in time"),
            )),
            stop @ (Ok(()) | Err(Stop::Over | Stop::Slow | Stop::Garbage)) => {
                let sent = session.flush();
                let refused = match session.denied.take() {
                    Some(why) if session.greeted => Some(format!("{what}; {why}")),
                    Some(why) => Some(format!("session of {}: {why}", session.whose())),
                    None => (!session.greeted).then(|| what.clone()),
                };
                self.connection.finish(false);
                sent.map(|()| match (stop, refused) {
                    (Err(Stop::Slow), _) => Outcome::Slow(what),
                    (Err(Stop::Garbage), _) => Outcome::Garbage(what),
                    (_, Some(why)) => Outcome::Refused(why),
                    (_, None) => Outcome::Done(what),
                })
            }
            Err(Stop::Broken(e)) => Ok(Outcome::Broken(format!(
                "{what}; the connection broke: {e}"
            ))),
        }
    }
}

impl Session<'_, '_> {
    fn summary(&self) -> String {
        let Tally {
            sent,
            handed,
            acknowledged,
            errors,
        } = self.tally;
        let who = self.whose();
        format!(
            "session of {who}: {sent} sent, {handed} handed out, {acknowledged} acknowledged, {errors} errors"
        )
    }

    /// Works on requests until the session ends.
    fn serve(&mut self) -> Result<(), Stop> {
        // How much of what comes next belongs to a request that was refused.
        let mut skip = 0;
        let mut began = Deadline::after(self.talk.config.request_timeout);
        loop {
            let received = std::mem::take(&mut self.talk.received);
            let (done, left) = self.work(&received, &mut skip)?;
            self.talk.received = received;
            self.talk.received.drain(..done);
            if done > 0 {
                began = Deadline::after(self.talk.config.request_timeout);
            }
            if left {
                return Ok(());
            }
            self.push()?;
            self.flush()?;
            self.wait(&mut began, skip > 0)?;
        }
    }

    /// Works on what was received; how much of it that was, and whether the client leaves.
    fn work(&mut self, received: &[u8], skip: &mut usize) -> Result<(usize, bool), Stop> {
        let mut at = 0;
        let mut batch = send::Batch::default();
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
                    if !self.add(&mut batch, to, id, ttl, body) {
                        self.deliver(&mut batch);
                        self.anonymous();
                    }
                    at += len;
                }
                Parsed::Request(request, len) => {
                    self.deliver(&mut batch);
                    let leaves = request == Request::Quit;
                    self.answer(request)?;
                    at += len;
                    if leaves {
                        return Ok((at, true));
                    }
                }
                Parsed::Wrong(code, text, next) => {
                    self.deliver(&mut batch);
                    self.error(code, text);
                    if !self.greeted {
                        return Err(Stop::Over);
                    }
                    *skip = next;
                }
                Parsed::Lost(code, text) => {
                    self.deliver(&mut batch);
                    self.error(code, text);
                    return Err(Stop::Garbage);
                }
            }
            if self.out.len() >= GATHER {
                self.flush()?;
            }
        }
    }

    fn answer(&mut self, request: Request<'_>) -> Result<(), Stop> {
        if !self.greeted {
            return match request {
                Request::Hello { name } => self.hello(name),
                _ => {
                    self.error(Code::Syntax, "HELLO dropline/1 comes first");
                    Err(Stop::Over)
                }
            };
        }
        match request {
            Request::Hello { .. } => self.error(Code::Syntax, "HELLO was said already"),
            // Those go through the batch.
            Request::Send { .. } => {}
            Request::Fetch { max, peek } => self.fetch(max, peek)?,
            Request::Ack(seq) => self.acknowledge(seq),
            Request::Watch => self.begin_watch()?,
            Request::History { before, max } => self.history(before, max)?,
            Request::Status { to, seq } => self.status(&to, seq),
            Request::Online { port, addr } => self.online(port, addr),
            Request::Renew => self.renew(),
            Request::Offline { port } => self.offline(port),
            Request::Deregister => self.deregister(),
            Request::Who { after, max } => self.who(after.as_ref(), max)?,
            Request::Lookup(name) => self.lookup(&name),
            Request::Quit => Line::begin(&mut self.out, "OK").end(),
        }
        Ok(())
    }

    /// Says what is done, for whoever looks.
    fn doing(&self, what: &str) {
        self.talk.doing(&format!("{what} {}", self.whose()));
    }

    fn error(&mut self, code: Code, text: impl std::fmt::Display) {
        self.tally.errors += 1;
        Line::begin(&mut self.out, "ERR")
            .word(code)
            .word(text)
            .end();
    }

    /// Tells what the store did not do.
    fn fail(&mut self, what: &str, error: &StoreError) {
        match reason(error) {
            Some((code, text)) => self.error(code, text),
            None => {
                log::error!("{}: {what}: {error}", self.talk.peer);
                self.talk.ticket.count(Counter::Failed, 1);
                self.error(Code::Internal, "the server has failed; its log says why");
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.flush_within(&mut Pace::new(self.talk.config.request_timeout))?;
        }
        Ok(())
    }

    /// The same for a part of an answer, all of which has one pace.
    fn flush_within(&mut self, pace: &mut Pace) -> io::Result<()> {
        self.talk.connection.send(&self.out, pace)?;
        self.out.clear();
        Ok(())
    }

    /// Waits until the client says more, its mailbox has more, or its time is over.
    fn wait(&mut self, began: &mut Deadline, in_request: bool) -> Result<(), Stop> {
        let in_request = in_request || !self.talk.received.is_empty();
        let limit = match &self.watch {
            Some(watch) if watch.more => Duration::ZERO,
            Some(watch) if !in_request => watch.ping.left(),
            _ if in_request => began.left(),
            _ => self.talk.config.idle_timeout,
        };
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
            let received = connection.receive_or_hear(&mut self.talk.received, step, bell)?;
            if received != Received::Silence || deadline.passed() {
                break received;
            }
            self.drop_lost_lease();
        };
        match received {
            Received::Bytes => {
                if before == 0 && !in_request {
                    *began = Deadline::after(self.talk.config.request_timeout);
                }
                self.read_ahead(before)
            }
            Received::Bell => {
                self.rang();
                Ok(())
            }
            Received::End => Err(Stop::Over),
            Received::Ending => {
                self.error(Code::Shutdown, "the server ends; try again later");
                Err(Stop::Over)
            }
            Received::Silence if self.watch.as_ref().is_some_and(|watch| watch.more) => Ok(()),
            Received::Silence if self.watch.is_some() && !in_request => {
                Line::begin(&mut self.out, "PING").end();
                self.pinged();
                Ok(())
            }
            Received::Silence => {
                self.error(Code::Timeout, "nothing came for too long");
                Err(if in_request { Stop::Slow } else { Stop::Over })
            }
        }
    }

    /// Reads on while there is more at once: requests that are worked on together cost less.
    fn read_ahead(&mut self, mut before: usize) -> Result<(), Stop> {
        let talk = &mut *self.talk;
        while talk.received.len() - before == MOST_READ && talk.received.len() < READ_AHEAD {
            before = talk.received.len();
            match talk
                .connection
                .receive(&mut talk.received, Duration::ZERO)?
            {
                Received::Bytes => {}
                // They are told once more, when what has come before is done.
                _ => break,
            }
        }
        Ok(())
    }
}
