//! Mailbox requests of the session dialect alone: peek, count, watch, status and history.

use std::io;
use std::time::Duration;

use super::session::SessionConnection;
use super::{Link, LinkError, MessagePiece, MessageSink};
use crate::client::handle::Handle;
use crate::client::message_view::MessageView;
use crate::name::Name;
use crate::wire::session::{Answer, AnswerFields, PING_INTERVAL, Request};

/// The timeout of a watched connection: two and a half ping intervals of the server.
const SILENCE: Duration = Duration::from_secs(PING_INTERVAL.as_secs() * 5 / 2);

/// The status of a sent message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct MessageStatus {
    /// `waiting`, `read` or `expired`.
    pub(in crate::client) state: String,
    /// When the message expired, or else when it was accepted, in milliseconds since 1970.
    pub(in crate::client) at: Option<u64>,
}

/// What happens to a watched message after the caller has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Verdict {
    /// The message is acknowledged.
    Done,
    /// The message stays waiting, and the watch ends.
    Later,
}

/// A caller that polls a mailbox without acknowledging messages.
pub(in crate::client) trait MailboxObserver {
    /// Waits until the next poll is due. Returns `false` to stop.
    fn goes_on(&mut self) -> bool;

    /// Receives the number of waiting messages. Returns whether to fetch the first of them for [`look`](Self::look).
    fn count(&mut self, count: u64) -> bool;

    /// Receives the first of the `count` waiting messages.
    fn look(&mut self, count: u64, messages: &[MessageView<'_>]);
}

impl SessionConnection<'_> {
    /// Returns the number of waiting messages.
    fn count(&mut self) -> Result<u64, LinkError> {
        self.say(&Request::Fetch { max: 0, peek: true })?;
        self.messages(&mut |_| Ok(()), |end| end.waiting())
    }

    /// Polls the mailbox until the observer stops.
    fn attend(&mut self, who: &mut dyn MailboxObserver) -> Result<(), LinkError> {
        /// How many messages are fetched for the observer.
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

    /// Reads messages up to the `END`. Returns the result of `end` for its fields.
    fn messages<T>(
        &mut self,
        take: &mut dyn FnMut(&MessageView<'_>) -> io::Result<()>,
        end: impl Fn(AnswerFields<'_>) -> T,
    ) -> Result<T, LinkError> {
        loop {
            let strange = LinkError::NotAServer(self.server.clone());
            let ended = self.next(|answer, connection| match answer {
                Answer::Message(message) => {
                    take(&connection.view(&message)).map_err(LinkError::Output)?;
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

    /// Passes each message to `take`, and acknowledges it, until a verdict is [`Verdict::Later`].
    fn watch(
        &mut self,
        take: &mut dyn FnMut(&MessageView<'_>) -> io::Result<Verdict>,
    ) -> Result<(), LinkError> {
        self.connection
            .stream
            .limit(SILENCE)
            .map_err(|e| self.server.broken(e))?;
        self.say(&Request::Watch)?;
        loop {
            let strange = LinkError::NotAServer(self.server.clone());
            let taken = self.next(|answer, connection| match answer {
                Answer::Message(message) => {
                    let verdict = take(&connection.view(&message)).map_err(LinkError::Output)?;
                    Ok(Some((message.seq, verdict)))
                }
                // OK answers an acknowledgement.
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
    /// As [`present`](Self::present), for requests that do not concern presence.
    fn require_session<T>(
        &self,
        name: &Name,
        work: impl FnOnce(&mut SessionConnection<'_>) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        self.in_session(Some(name), work)?
            .ok_or_else(|| LinkError::TooOld(self.server.clone()))
    }

    /// Reads the messages waiting for `of` into `sink` without acknowledging them.
    ///
    /// # Errors
    /// Those of the server; [`LinkError::TooOld`].
    pub(in crate::client) fn peek(
        &self,
        of: &Name,
        sink: &mut dyn MessageSink,
    ) -> Result<(), LinkError> {
        let peeked = self.require_session(of, |session| {
            session.say(&Request::Fetch {
                max: u64::MAX,
                peek: true,
            })?;
            session.messages(
                &mut |message| match message.key() {
                    Some(key) if sink.knows(&key)? => Ok(()),
                    _ => sink.take(&MessagePiece::Whole(message)),
                },
                |_| (),
            )
        });
        known(peeked, ())?;
        sink.finish(&[]).map_err(LinkError::Output)
    }

    /// Returns the number of messages waiting for `of` on the server.
    ///
    /// # Errors
    /// Those of the server; [`LinkError::TooOld`].
    pub(in crate::client) fn count(&self, of: &Name) -> Result<u64, LinkError> {
        known(self.require_session(of, |session| session.count()), 0)
    }

    /// Polls the mailbox of `of` for an observer, in one session.
    ///
    /// # Errors
    /// Those of the server; [`LinkError::TooOld`].
    pub(in crate::client) fn attend(
        &self,
        of: &Name,
        who: &mut dyn MailboxObserver,
    ) -> Result<(), LinkError> {
        self.require_session(of, |session| session.attend(who))
    }

    /// Returns the status of a message that `me` has sent.
    ///
    /// # Errors
    /// Those of the server; [`LinkError::NoSuchMessage`] if the message has another sender or does not exist any more.
    pub(in crate::client) fn status(
        &self,
        me: &Name,
        handle: &Handle,
    ) -> Result<MessageStatus, LinkError> {
        self.require_session(me, |session| {
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

    /// Passes the read messages of `of` to `take`, newest first, until it returns `false`.
    ///
    /// # Errors
    /// Those of the server; [`LinkError::TooOld`].
    pub(in crate::client) fn history(
        &self,
        of: &Name,
        take: &mut dyn FnMut(&MessageView<'_>) -> bool,
    ) -> Result<(), LinkError> {
        /// How many messages are fetched at a time.
        const PAGE: u64 = 50;
        let shown = self.require_session(of, |session| {
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

    /// Passes the waiting and all new messages for `of` to `take`, until it returns [`Verdict::Later`].
    ///
    /// # Errors
    /// Those of the server; [`LinkError::TooOld`].
    pub(in crate::client) fn watch(
        &self,
        of: &Name,
        take: &mut dyn FnMut(&MessageView<'_>) -> io::Result<Verdict>,
    ) -> Result<(), LinkError> {
        self.require_session(of, |session| session.watch(take))
    }
}

/// Returns `nothing` if the mailbox does not exist on the server, for it is then empty.
fn known<T>(found: Result<T, LinkError>, nothing: T) -> Result<T, LinkError> {
    match found {
        Err(LinkError::UnknownUser(_)) => Ok(nothing),
        found => found,
    }
}
