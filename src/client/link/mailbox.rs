//! What only the session dialect can do with mailboxes: look, count, watch, remember.

use std::io;
use std::time::Duration;

use super::session::SessionConnection;
use super::{Link, LinkError, MessagePiece, MessageSink};
use crate::client::handle::Handle;
use crate::client::message_view::MessageView;
use crate::name::Name;
use crate::wire::session::{Answer, AnswerFields, PING_INTERVAL, Request};

/// How long a server that is watched may be silent: two and a half of the intervals at which it says that it lives.
const SILENCE: Duration = Duration::from_secs(PING_INTERVAL.as_secs() * 5 / 2);

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct MessageStatus {
    /// `waiting`, `read` or `expired`.
    pub(in crate::client) state: String,
    /// Since when, in milliseconds since 1970.
    pub(in crate::client) at: Option<u64>,
}

/// What is to become of a message that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Verdict {
    /// It leaves the queue.
    Done,
    /// It stays, and nothing more is wanted now.
    Later,
}

/// Somebody who looks again and again at what waits, and leaves it waiting.
pub(in crate::client) trait MailboxObserver {
    /// Waits until it is to be looked again; `false` when that is over.
    fn goes_on(&mut self) -> bool;

    /// So many messages wait. Whether the first of them are to be seen.
    fn count(&mut self, count: u64) -> bool;

    /// These are the first of the `count` messages that wait.
    fn look(&mut self, count: u64, messages: &[MessageView<'_>]);
}

impl SessionConnection<'_> {
    /// Asks how many messages wait.
    fn count(&mut self) -> Result<u64, LinkError> {
        self.say(&Request::Fetch { max: 0, peek: true })?;
        self.messages(&mut |_| Ok(()), |end| end.waiting())
    }

    /// Shows what waits, until nobody wants to see it any more.
    fn attend(&mut self, who: &mut dyn MailboxObserver) -> Result<(), LinkError> {
        /// How many messages are looked at.
        const FIRST: u64 = 16;
        loop {
            let count = known(self.count(), 0)?;
            if who.count(count) {
                let mut first = Vec::new();
                self.say(&Request::Fetch {
                    max: FIRST,
                    peek: true,
                })?;
                let seen = self.messages(
                    &mut |message| {
                        first.push((message.id, message.from.to_vec(), message.trust));
                        Ok(())
                    },
                    |_| (),
                );
                known(seen, ())?;
                let messages: Vec<_> = first
                    .iter()
                    .map(|(id, from, trust)| MessageView {
                        seq: None,
                        id: *id,
                        from,
                        trust: *trust,
                        at: None,
                        body: b"",
                    })
                    .collect();
                who.look(count, &messages);
            }
            if !who.goes_on() {
                return Ok(());
            }
        }
    }

    /// Reads messages up to the `END`, whose fields are given to `end`.
    fn messages<T>(
        &mut self,
        take: &mut dyn FnMut(&MessageView<'_>) -> io::Result<()>,
        end: impl Fn(AnswerFields<'_>) -> T,
    ) -> Result<T, LinkError> {
        loop {
            let strange = LinkError::NotAServer(self.server.clone());
            let ended = self.next(|answer| match answer {
                Answer::Message(message) => {
                    take(&MessageView::from(&message)).map_err(LinkError::Output)?;
                    Ok(None)
                }
                Answer::End(fields) => Ok(Some(end(fields))),
                Answer::Ping => Ok(None),
                Answer::Err(code, text) => Err(LinkError::refused(code, text)),
                Answer::Ok(_) | Answer::User(_) => Err(strange),
            })?;
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// Hands over one message after the other, until one is to stay.
    fn watch(
        &mut self,
        take: &mut dyn FnMut(&MessageView<'_>) -> io::Result<Verdict>,
    ) -> Result<(), LinkError> {
        self.stream
            .limit(SILENCE)
            .map_err(|e| self.server.broken(e))?;
        self.say(&Request::Watch)?;
        loop {
            let strange = LinkError::NotAServer(self.server.clone());
            let taken = self.next(|answer| match answer {
                Answer::Message(message) => {
                    let verdict = take(&MessageView::from(&message)).map_err(LinkError::Output)?;
                    Ok(Some((message.seq, verdict)))
                }
                // Of our acknowledgements.
                Answer::Ok(_) | Answer::Ping => Ok(None),
                Answer::Err(code, text) => Err(LinkError::refused(code, text)),
                Answer::End(_) | Answer::User(_) => Err(strange),
            })?;
            match taken {
                Some((seq, Verdict::Done)) => self.say(&Request::Ack(seq))?,
                Some((_, Verdict::Later)) => return Ok(()),
                None => {}
            }
        }
    }
}

impl Link {
    /// As [`present`](Self::present), where it is not about who is there.
    fn young<T>(
        &self,
        name: &Name,
        work: impl FnOnce(&mut SessionConnection<'_>) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        self.in_session(Some(name), work)?
            .ok_or_else(|| LinkError::TooOld(self.server.clone()))
    }

    /// Reads what waits for `of` into `sink`, and leaves it waiting.
    ///
    /// # Errors
    /// Those of the server; [`LinkError::TooOld`].
    pub(in crate::client) fn peek(
        &self,
        of: &Name,
        sink: &mut dyn MessageSink,
    ) -> Result<(), LinkError> {
        let peeked = self.young(of, |session| {
            session.say(&Request::Fetch {
                max: u64::MAX,
                peek: true,
            })?;
            session.messages(
                &mut |message| match message.id {
                    Some(id) if sink.knows(id)? => Ok(()),
                    _ => sink.take(&MessagePiece::Whole(message)),
                },
                |_| (),
            )
        });
        known(peeked, ())?;
        sink.finish(&[]).map_err(LinkError::Output)
    }

    /// How many messages wait for `of` at the server.
    ///
    /// # Errors
    /// Those of the server; [`LinkError::TooOld`].
    pub(in crate::client) fn count(&self, of: &Name) -> Result<u64, LinkError> {
        known(self.young(of, |session| session.count()), 0)
    }

    /// Shows `who` what waits for `of`, in one session.
    ///
    /// # Errors
    /// Those of the server, which may be another one by the time one tries again; [`LinkError::TooOld`].
    pub(in crate::client) fn attend(
        &self,
        of: &Name,
        who: &mut dyn MailboxObserver,
    ) -> Result<(), LinkError> {
        self.young(of, |session| session.attend(who))
    }

    /// What became of a message that `me` has sent.
    ///
    /// # Errors
    /// Those of the server: [`LinkError::NoSuchMessage`] for one that is not ours, or not known any more.
    pub(in crate::client) fn status(
        &self,
        me: &Name,
        handle: &Handle,
    ) -> Result<MessageStatus, LinkError> {
        self.young(me, |session| {
            session.say(&Request::Status {
                to: handle.to.clone(),
                seq: handle.seq,
            })?;
            let told = session.fields(|fields| {
                Some(MessageStatus {
                    state: fields.get("state")?.to_owned(),
                    at: fields.number("at"),
                })
            });
            told.map_err(|e| match e {
                LinkError::Denied(_) => LinkError::NoSuchMessage(handle.clone()),
                e => e,
            })
        })
    }

    /// Shows messages of `of` that were read before, the newest first, until `take` has enough (`false`).
    ///
    /// # Errors
    /// Those of the server; [`LinkError::TooOld`].
    pub(in crate::client) fn history(
        &self,
        of: &Name,
        take: &mut dyn FnMut(&MessageView<'_>) -> bool,
    ) -> Result<(), LinkError> {
        /// How many messages are asked for at a time.
        const PAGE: u64 = 50;
        let shown = self.young(of, |session| {
            let mut before = None;
            loop {
                session.say(&Request::History { before, max: PAGE })?;
                let (mut goes_on, mut last) = (true, None);
                let more = session.messages(
                    &mut |message| {
                        last = message.seq;
                        goes_on = goes_on && take(message);
                        Ok(())
                    },
                    |end| end.more(),
                )?;
                if !goes_on || !more || last.is_none() {
                    return Ok(());
                }
                before = last;
            }
        });
        known(shown, ())
    }

    /// Hands over what waits for `of`, and what comes, until a message is to stay.
    ///
    /// # Errors
    /// Those of the server, which may be another one by the time one tries again; [`LinkError::TooOld`].
    pub(in crate::client) fn watch(
        &self,
        of: &Name,
        take: &mut dyn FnMut(&MessageView<'_>) -> io::Result<Verdict>,
    ) -> Result<(), LinkError> {
        self.young(of, |session| session.watch(take))
    }
}

/// A mailbox that nobody knows is an empty one.
fn known<T>(found: Result<T, LinkError>, nothing: T) -> Result<T, LinkError> {
    match found {
        Err(LinkError::UnknownUser(_)) => Ok(nothing),
        found => found,
    }
}
