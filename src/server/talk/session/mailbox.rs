//! `FETCH`, `ACK` and `HISTORY`: the client's own mailbox.

use super::state::{Leased, Session, SessionError};
use crate::message::Stored;
use crate::name::Name;
use crate::server::connection::Pace;
use crate::server::principal::{Act, Refused};
use crate::server::scoreboard::Counter;
use crate::server::talk::conversation::GATHER;
use crate::store::{Reading, State, Waiting};
use crate::wire::code::Code;
use crate::wire::session::{Message, encode_end, encode_message};

impl<'a> Session<'_, 'a> {
    /// Sends the waiting messages. Unless this is a peek, they stay leased to this session until they are acknowledged.
    pub(super) fn fetch(&mut self, max: u64, peek: bool) -> Result<(), SessionError> {
        let name = self.named()?;
        self.must_not_watch()?;
        let what = format!("fetch {name}");
        let store = self.talk.store;
        if peek {
            let found = store.peek(&name);
            // A login may have claimed the name before the mailbox was read.
            self.keeps(&name)?;
            let mut found = found.map_err(|e| self.refuse(&what, e))?;
            return self.hand_out(found.as_deref_mut(), max, &what).map(drop);
        }
        // Messages that this session has leased before are sent again.
        self.leased = None;
        let found = store.fetch(&name);
        // A login may have claimed the name while this process waited for another reader.
        self.keeps(&name)?;
        match found.map_err(|e| self.refuse(&what, e))? {
            Some(mut waiting) => {
                if let Some((first, last)) = self.hand_out(Some(waiting.as_mut()), max, &what)? {
                    self.leased = Some(Leased {
                        waiting,
                        last,
                        acked: first.saturating_sub(1),
                    });
                }
                Ok(())
            }
            None => self.hand_out::<dyn Waiting>(None, max, &what).map(drop),
        }
    }

    /// Refuses a request that is not allowed during a watch.
    fn must_not_watch(&mut self) -> Result<(), SessionError> {
        match self.watch {
            Some(_) => Err(self.error(Code::Syntax, "not while WATCH goes on")),
            None => Ok(()),
        }
    }

    /// Sends messages and the END line. Returns the numbers of the first and the last message, if there was one.
    fn hand_out<R: Reading + ?Sized>(
        &mut self,
        reading: Option<&mut R>,
        max: u64,
        what: &str,
    ) -> Result<Option<(u64, u64)>, SessionError> {
        let (mut n, mut range, mut more, mut waiting) = (0, None, false, 0);
        let mut pace = Pace::new(self.talk.config.request_timeout);
        if let Some(reading) = reading {
            loop {
                match reading.next() {
                    Ok(Some(_)) if n == max => {
                        more = true;
                        break;
                    }
                    Ok(Some(message)) => {
                        n += 1;
                        let first = range.map_or(message.seq, |(first, _)| first);
                        range = Some((first, message.seq));
                        self.shown = self.shown.max(message.seq);
                        self.tally.handed_out += 1;
                        encode_message(&mut self.out, &to_wire(&message));
                    }
                    Ok(None) => break,
                    Err(e) => {
                        // The messages sent so far are leased all the same.
                        self.refuse(what, e);
                        return Ok(range);
                    }
                }
                if self.out.len() >= GATHER {
                    self.flush_within(&mut pace)?;
                }
            }
            // If there are no more, all of them were read.
            match if more { reading.waiting() } else { Ok(n) } {
                Ok(count) => waiting = count,
                Err(e) => {
                    self.refuse(what, e);
                    return Ok(range);
                }
            }
        }
        encode_end(&mut self.out, n, more, Some(waiting));
        Ok(range)
    }

    /// Removes all messages up to number `seq` from the queue, if they were sent to this session, leased or as a peek.
    /// Messages that only an earlier session received must be fetched again: this client may not have seen them. A
    /// message may be acknowledged twice, by a client that did not receive the first answer.
    pub(super) fn acknowledge(&mut self, seq: u64) -> Result<(), SessionError> {
        let name = self.named()?;
        let done = match &mut self.leased {
            Some(leased) if seq <= leased.last => {
                let done = leased.waiting.acknowledge(seq);
                done.map(|()| true).map_err(Refused::from)
            }
            Some(_) => Ok(false),
            None if seq <= self.shown => self.acknowledge_shown(&name, seq),
            None => self.is_read(&name, seq),
        };
        let answered = match done {
            Ok(true) => {
                self.count_delivered(seq);
                self.ok()
            }
            Ok(false) => {
                let text = format!("message {seq} was not handed out");
                Err(self.error(Code::Syntax, text))
            }
            Err(e) => Err(self.refuse(&format!("acknowledge {name}/{seq}"), e)),
        };
        // The lease ends when nothing is left to acknowledge.
        let is_over = |leased: &Leased<'_>| seq >= leased.last;
        if self.watch.is_none() && self.leased.as_ref().is_some_and(is_over) {
            self.leased = None;
        }
        answered
    }

    /// Counts the messages that are newly acknowledged, computed from their numbers.
    fn count_delivered(&mut self, seq: u64) {
        let mut count = 1;
        if let Some(leased) = &mut self.leased {
            count = seq.saturating_sub(leased.acked);
            leased.acked = leased.acked.max(seq);
        }
        self.tally.acknowledged += count;
        self.talk.status.count(Counter::Delivered, count);
    }

    /// Acknowledges messages that this session has seen but not leased. Returns whether message `seq` is or was there.
    fn acknowledge_shown(&self, name: &Name, seq: u64) -> Result<bool, Refused> {
        let found = self.talk.store.fetch(name);
        // A login may have claimed the name while this process waited for another reader.
        self.talk.may(Act::StillAs(name))?;
        if let Some(mut waiting) = found? {
            let mut reached = None;
            while let Some(message) = waiting.next()? {
                reached = Some(message.seq).filter(|this| *this <= seq).or(reached);
                if message.seq >= seq {
                    break;
                }
            }
            if let Some(reached) = reached.filter(|reached| *reached == seq) {
                waiting.acknowledge(reached)?;
                return Ok(true);
            }
        }
        self.is_read(name, seq)
    }

    /// Returns whether message `seq` was acknowledged before.
    fn is_read(&self, name: &Name, seq: u64) -> Result<bool, Refused> {
        let trace = self.talk.store.trace(name, seq)?;
        Ok(trace.is_some_and(|trace| trace.state == State::Read))
    }

    /// Sends acknowledged messages, newest first.
    pub(super) fn history(&mut self, before: Option<u64>, max: u64) -> Result<(), SessionError> {
        let name = self.named()?;
        self.must_not_watch()?;
        let store = self.talk.store;
        let (mut n, mut more, mut sent) = (0, false, Ok(()));
        let shown = store.history(&name, before, &mut |message| {
            if n == max {
                more = true;
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
        shown.map_err(|e| self.refuse(&format!("history {name}"), e))?;
        encode_end(&mut self.out, n, more, None);
        Ok(())
    }
}

/// Converts a stored message to its wire form.
pub(super) fn to_wire<'m>(message: &Stored<'m>) -> Message<'m> {
    Message {
        seq: message.seq,
        id: message.id,
        from: message.from.clone(),
        trust: message.trust,
        at: message.at,
        body: message.body,
    }
}
