//! `FETCH`, `ACK`, `WATCH`, `HISTORY`: reading one's own mailbox.

use super::{GATHER, Handed, PING, Session, Stop, VANISHED, Watch};
use crate::message::Stored;
use crate::name::Name;
use crate::server::connection::Pace;
use crate::server::scoreboard::Counter;
use crate::store::{Reading, State, StoreError, Waiting};
use crate::sys::clock::Deadline;
use crate::wire::session::{Code, Line, Message, encode_message};

/// How many bytes are handed out to somebody who watches before it is looked at what they say.
const PUSH: usize = 256 * 1024;

impl<'a> Session<'_, 'a> {
    /// Hands out what waits. It stays leased to this session until it is acknowledged, but for a peek.
    pub(super) fn fetch(&mut self, max: u64, peek: bool) -> Result<(), Stop> {
        let Some(name) = self.named() else {
            return Ok(());
        };
        if self.watch.is_some() {
            self.error(Code::Syntax, "not while WATCH goes on");
            return Ok(());
        }
        let what = format!("fetch {name}");
        let store = self.talk.store;
        if peek {
            return match store.peek(&name) {
                Ok(mut found) => {
                    let reading = found.as_deref_mut();
                    self.hand_out(reading, max, &what).map(drop)
                }
                Err(e) => {
                    self.fail(&what, &e);
                    Ok(())
                }
            };
        }
        // What this session has leased before is handed out again.
        self.handed = None;
        let found = store.fetch(&name);
        // We may have waited for another reader.
        if !self.keeps(&name) {
            return Ok(());
        }
        match found {
            Ok(Some(mut waiting)) => {
                if let Some((first, last)) = self.hand_out(Some(waiting.as_mut()), max, &what)? {
                    self.handed = Some(Handed {
                        waiting,
                        last,
                        acked: first.saturating_sub(1),
                    });
                }
                Ok(())
            }
            Ok(None) => self.hand_out::<dyn Waiting>(None, max, &what).map(drop),
            Err(e) => {
                self.fail(&what, &e);
                Ok(())
            }
        }
    }

    /// Writes messages and the END; the numbers of the first and the last message, if there was one.
    fn hand_out<R: Reading + ?Sized>(
        &mut self,
        reading: Option<&mut R>,
        max: u64,
        what: &str,
    ) -> Result<Option<(u64, u64)>, Stop> {
        let (mut n, mut range, mut more, mut waiting) = (0, None, 0, 0);
        let mut pace = Pace::new(self.talk.config.request_timeout);
        if let Some(reading) = reading {
            waiting = match reading.waiting() {
                Ok(waiting) => waiting,
                Err(e) => {
                    self.fail(what, &e);
                    return Ok(None);
                }
            };
            loop {
                match reading.next() {
                    Ok(Some(_)) if n == max => {
                        more = 1;
                        break;
                    }
                    Ok(Some(message)) => {
                        n += 1;
                        let first = range.map_or(message.seq, |(first, _)| first);
                        range = Some((first, message.seq));
                        self.shown = self.shown.max(message.seq);
                        self.tally.handed += 1;
                        encode_message(&mut self.out, &to_wire(&message));
                    }
                    Ok(None) => break,
                    Err(e) => {
                        self.fail(what, &e);
                        return Ok(range);
                    }
                }
                if self.out.len() >= GATHER {
                    self.flush_within(&mut pace)?;
                }
            }
        }
        Line::begin(&mut self.out, "END")
            .field("n", n)
            .field("more", more)
            .field("waiting", waiting)
            .end();
        Ok(range)
    }

    /// Takes all messages up to number `seq` out of the queue, if they were handed out: to this session, or as a peek.
    /// Of what only an earlier session was handed nothing is known: whoever may not have seen it fetches it again.
    /// What is acknowledged already may be acknowledged again, by a client that did not hear the answer.
    pub(super) fn acknowledge(&mut self, seq: u64) {
        let Some(name) = self.named() else { return };
        let what = format!("acknowledge {name}/{seq}");
        let done = match &mut self.handed {
            Some(handed) if seq <= handed.last => handed.waiting.acknowledge(seq).map(|()| true),
            Some(_) => Ok(false),
            None if seq <= self.shown => self.acknowledge_shown(&name, seq),
            None => self.is_read(&name, seq),
        };
        match done {
            Ok(true) => {
                self.count_delivered(seq);
                Line::begin(&mut self.out, "OK").end();
            }
            Ok(false) => {
                let text = format!("message {seq} was not handed out");
                self.error(Code::Syntax, text);
            }
            Err(e) => self.fail(&what, &e),
        }
        // The lease is over when nothing is left to acknowledge.
        let is_over = |handed: &Handed<'_>| seq >= handed.last;
        if self.watch.is_none() && self.handed.as_ref().is_some_and(is_over) {
            self.handed = None;
        }
    }

    /// Counts what was handed out and is acknowledged now, told from the numbers.
    fn count_delivered(&mut self, seq: u64) {
        let mut count = 1;
        if let Some(handed) = &mut self.handed {
            count = seq.saturating_sub(handed.acked);
            handed.acked = handed.acked.max(seq);
        }
        self.tally.acknowledged += count;
        self.talk.ticket.count(Counter::Delivered, count);
    }

    /// Acknowledges what this session has seen and has not leased; whether there is such a message.
    fn acknowledge_shown(&self, name: &Name, seq: u64) -> Result<bool, StoreError> {
        let store = self.talk.store;
        if let Some(mut waiting) = store.fetch(name)? {
            let mut reached = None;
            while let Some(message) = waiting.next()? {
                reached = Some(message.seq).filter(|this| *this <= seq).or(reached);
                if message.seq >= seq {
                    break;
                }
            }
            if let Some(reached) = reached.filter(|reached| *reached == seq) {
                return waiting.acknowledge(reached).map(|()| true);
            }
        }
        self.is_read(name, seq)
    }

    /// Whether message `seq` was acknowledged before.
    fn is_read(&self, name: &Name, seq: u64) -> Result<bool, StoreError> {
        let trace = self.talk.store.trace(name, seq)?;
        Ok(trace.is_some_and(|trace| trace.state == State::Read))
    }

    /// Shows what was acknowledged, newest first.
    pub(super) fn history(&mut self, before: Option<u64>, max: u64) -> Result<(), Stop> {
        let Some(name) = self.named() else {
            return Ok(());
        };
        if self.watch.is_some() {
            self.error(Code::Syntax, "not while WATCH goes on");
            return Ok(());
        }
        let store = self.talk.store;
        let (mut n, mut more, mut sent) = (0, 0, Ok(()));
        let shown = store.history(&name, before, &mut |message| {
            if n == max {
                more = 1;
                return false;
            }
            n += 1;
            encode_message(&mut self.out, &to_wire(message));
            if self.out.len() >= GATHER {
                sent = self.flush();
            }
            sent.is_ok()
        });
        sent?;
        match shown {
            Ok(()) => Line::begin(&mut self.out, "END")
                .field("n", n)
                .field("more", more)
                .end(),
            Err(e) => self.fail(&format!("history {name}"), &e),
        }
        Ok(())
    }

    /// Hands out what waits, and what comes, from now on.
    pub(super) fn begin_watch(&mut self) -> Result<(), Stop> {
        let Some(name) = self.named() else {
            return Ok(());
        };
        if self.watch.is_some() {
            self.error(Code::Syntax, "WATCH goes on already");
            return Ok(());
        }
        self.handed = None;
        let store = self.talk.store;
        // The bell first: a message that comes between the two is seen, and rings for nothing.
        match store.bell(&name) {
            Ok(bell) => {
                self.watch = Some(Watch {
                    bell,
                    more: true,
                    ping: Deadline::after(PING),
                });
                self.talk.connection.give_up_after(VANISHED)?;
                self.doing("watch");
            }
            Err(e) => self.fail(&format!("watch {name}"), &e),
        }
        Ok(())
    }

    /// The bell has rung: there are messages.
    pub(super) fn rang(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.bell.silence();
            watch.more = true;
        }
    }

    /// The client has just been told that we live.
    pub(super) fn pinged(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.ping = Deadline::after(PING);
        }
    }

    /// Hands out some of what has come to somebody who watches.
    pub(super) fn push(&mut self) -> Result<(), Stop> {
        let Some(name) = self.name.clone() else {
            return Ok(());
        };
        if !self.watch.as_ref().is_some_and(|watch| watch.more) {
            return self.let_go(&name);
        }
        let leased = self.leased(&name);
        // What has come after a claim is its owner's: it is looked at after what there is to hand out.
        self.let_go(&name)?;
        let pushed = match leased {
            Ok(Some(mut handed)) => {
                let pushed = self.push_some(&mut handed);
                self.handed = Some(handed);
                pushed?
            }
            Ok(None) => Ok(false),
            Err(e) => Err(e),
        };
        match pushed {
            Ok(more) => {
                if let Some(watch) = &mut self.watch {
                    watch.more = more;
                }
            }
            Err(e) => {
                self.fail(&format!("watch {name}"), &e);
                self.watch = None;
                self.handed = None;
            }
        }
        self.pinged();
        Ok(())
    }

    /// The lease on the mailbox, with what has come since; `None` while there is no mailbox.
    fn leased(&mut self, name: &Name) -> Result<Option<Handed<'a>>, StoreError> {
        match self.handed.take() {
            Some(mut handed) => {
                handed.waiting.refresh()?;
                Ok(Some(handed))
            }
            None => {
                let waiting = self.talk.store.fetch(name)?;
                Ok(waiting.map(|waiting| Handed {
                    waiting,
                    last: 0,
                    acked: 0,
                }))
            }
        }
    }

    /// Sends messages until there are no more, or it is time to hear what the client says; whether there may be
    /// more.
    fn push_some(&mut self, handed: &mut Handed<'_>) -> Result<Result<bool, StoreError>, Stop> {
        let mut pushed = 0;
        let mut pace = Pace::new(self.talk.config.request_timeout);
        while pushed < PUSH {
            match handed.waiting.next() {
                Ok(Some(message)) => {
                    if handed.last == 0 {
                        handed.acked = message.seq.saturating_sub(1);
                    }
                    handed.last = message.seq;
                    self.shown = self.shown.max(message.seq);
                    self.tally.handed += 1;
                    encode_message(&mut self.out, &to_wire(&message));
                }
                Ok(None) => return Ok(Ok(false)),
                Err(e) => return Ok(Err(e)),
            }
            if self.out.len() >= GATHER {
                pushed += self.out.len();
                self.talk.connection.send(&self.out, &mut pace)?;
                self.out.clear();
            }
        }
        Ok(Ok(true))
    }
}

fn to_wire<'m>(message: &Stored<'m>) -> Message<'m> {
    Message {
        seq: message.seq,
        id: message.id,
        from: message.from.clone(),
        trust: message.trust,
        at: message.at,
        body: message.body,
    }
}
