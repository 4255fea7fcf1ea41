//! Submitting messages: each is with the server, or in the outbox, or was refused.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::instant::{self, SendReport, StoredBecause};
use super::link::{DialectChoice, Link, LinkError, Offered, Server};
use super::outbox::{Deferred, Outbox, OutboxError, Queued};
use super::{thread, view};
use crate::message::{LARGEST_MAX_BODY, MessageId};
use crate::name::Name;
use crate::sys::clock;
use crate::wire::datagram::Letter;
use crate::wire::line::Unsayable;

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// Standard input cannot be read.
    #[error("cannot read the message from standard input: {0}")]
    Input(io::Error),
    /// It is longer than any server takes.
    #[error("the message is too long: no server takes more than {LARGEST_MAX_BODY} bytes")]
    TooLong,
    /// The server has not got it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The server has not got it, and it could not be queued here.
    #[error("{0}; and it cannot be queued: {1}; the message was NOT sent")]
    NotQueued(String, OutboxError),
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the server.
    Server,
    /// To the recipient's client, if they are online, else to the server.
    Instant,
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Submission {
    /// It is on its way.
    Delivered(SendReport),
    /// It is in the outbox, and why.
    Queued(String),
}

/// Sends messages of one person, and keeps those that the server cannot take now.
#[derive(Debug)]
pub(super) struct Submitter<'p> {
    /// The connections to the server.
    pub(super) link: &'p Link,
    /// The server that was named, if one was.
    pub(super) named: Option<&'p Server>,
    /// Who sends.
    pub(super) from: &'p Name,
    /// What must wait because earlier messages do.
    pub(super) deferred: &'p Deferred,
}

impl Submitter<'_> {
    /// Sends `body` to `to`; it is of use for `ttl` seconds, if that is said.
    ///
    /// # Errors
    /// The message was not sent, and never will be; or it is not known whether it was.
    pub(super) fn send(
        &self,
        to: &Name,
        body: &[u8],
        route: Route,
        ttl: Option<u64>,
    ) -> Result<Submission, SendError> {
        self.finish(self.begin(to, body, route, ttl)?)
    }

    /// Begins to send: from now on, the message does not get lost. Nothing is said to the server yet.
    ///
    /// # Errors
    /// The message cannot be sent.
    pub(super) fn begin<'b>(
        &self,
        to: &Name,
        body: &'b [u8],
        route: Route,
        ttl: Option<u64>,
    ) -> Result<PendingMessage<'b>, SendError> {
        if body.is_empty() {
            return Err(LinkError::from(Unsayable::Empty).into());
        }
        let letter = Letter {
            id: MessageId::random().map_err(|e| LinkError::Random(e.to_string()))?,
            at: clock::unix_millis(),
            from: self.from.clone(),
            to: to.clone(),
            body,
        };
        // Only in a session may the same message be sent twice, and is stored once.
        let guarded = self.link.dialect() == DialectChoice::Session;
        let limit = match route {
            Route::Server => SLOW,
            // The recipient's client is waited for as well.
            Route::Instant => SLOW + instant::LONGEST,
        };
        let timer = guarded
            .then(|| QueueTimer::start(self.as_queued(&letter, ttl), limit))
            .flatten();
        Ok(PendingMessage {
            letter,
            route,
            ttl,
            timer,
        })
    }

    /// Sends what was begun.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(super) fn finish(&self, pending: PendingMessage<'_>) -> Result<Submission, SendError> {
        let PendingMessage {
            letter,
            route,
            ttl,
            timer,
        } = pending;
        if self.deferred.blocks(self.link.server(), &letter.to) {
            let why = self.deferred.why.as_ref().map(LinkError::to_string);
            let why = why.unwrap_or_default();
            return match timer.and_then(QueueTimer::stop) {
                Some(_) => Ok(Submission::Queued(why)),
                None => self.queue(&letter, ttl, why),
            };
        }
        let delivered = self.deliver(&letter, route, ttl);
        let queued_message = timer.and_then(QueueTimer::stop);
        match delivered {
            Err(e) if self.link.is_temporary(&e) => match queued_message {
                Some(_) => Ok(Submission::Queued(e.to_string())),
                None => self.queue(&letter, ttl, e.to_string()),
            },
            done => {
                if let Some(message) = queued_message {
                    // If it stays there, it is sent once more, and stored once.
                    let _ = Outbox::open().and_then(|outbox| outbox.remove(&message.file_name()));
                }
                Ok(Submission::Delivered(done?))
            }
        }
    }

    /// What is to be said of a recipient of whom the server has not heard before: the name may be spelt wrong.
    pub(super) fn unknown_recipient_notice(
        &self,
        to: &Name,
        delivery: SendReport,
    ) -> Option<String> {
        // Whoever has had a message before is no stranger.
        let SendReport::Stored(_, Some(1)) = delivery else {
            return None;
        };
        let is_known = self.link.with_short_timeouts().is_registered(self.from, to);
        matches!(is_known, Ok(false)).then(|| {
            format!("note: nobody named {to} has been here yet; the message waits for them")
        })
    }

    fn deliver(
        &self,
        letter: &Letter<'_>,
        route: Route,
        ttl: Option<u64>,
    ) -> Result<SendReport, LinkError> {
        // The old chat server leaves no choice.
        if route == Route::Instant || self.link.dialect() == DialectChoice::Framed {
            return instant::deliver(self.link, letter, ttl);
        }
        match self.link.offer(letter, ttl)? {
            Offered::Stored(seq) => Ok(SendReport::Stored(StoredBecause::Unasked, seq)),
            // Only the old chat server says so.
            Offered::SendTo(_) => Ok(SendReport::Sent),
        }
    }

    fn queue(
        &self,
        letter: &Letter<'_>,
        ttl: Option<u64>,
        why: String,
    ) -> Result<Submission, SendError> {
        let message = self.as_queued(letter, ttl);
        match Outbox::open().and_then(|outbox| outbox.put(&message)) {
            Ok(()) => Ok(Submission::Queued(why)),
            Err(e) => Err(SendError::NotQueued(why, e)),
        }
    }

    fn as_queued(&self, letter: &Letter<'_>, ttl: Option<u64>) -> Queued {
        Queued {
            id: letter.id,
            from: letter.from.clone(),
            to: letter.to.clone(),
            at: letter.at,
            expires: ttl.map(|ttl| letter.at.saturating_add(ttl.saturating_mul(1_000))),
            server: self.named.cloned(),
            dialect: self.link.chosen(),
            refused: None,
            body: letter.body.to_vec(),
        }
    }
}

/// A message that is being sent.
pub(super) struct PendingMessage<'b> {
    letter: Letter<'b>,
    route: Route,
    ttl: Option<u64>,
    timer: Option<QueueTimer>,
}

/// How long a server may take to answer before the message is put into the outbox meanwhile.
const SLOW: Duration = Duration::from_millis(500);

/// Watches over a message that is on its way: when the server keeps quiet, it is put into the outbox, so that whoever
/// does not wait for it loses nothing.
struct QueueTimer {
    /// Dropped when the message has arrived, or has not.
    done: Sender<()>,
    thread: JoinHandle<Option<Queued>>,
}

impl QueueTimer {
    /// Puts the message into the outbox after a moment, and says so when it has taken longer than `limit`.
    fn start(message: Queued, limit: Duration) -> Option<Self> {
        let (done, is_done) = channel::<()>();
        let is_slow = move |limit| is_done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        let watch = move || {
            if !is_slow(SLOW) {
                return None;
            }
            // Without an outbox the message is sent without a timer.
            Outbox::open()
                .and_then(|outbox| outbox.put(&message))
                .ok()?;
            if is_slow(limit - SLOW) {
                view::notice(&format!(
                    "dropline: the server does not answer yet; the message for {} is in the outbox meanwhile",
                    message.to
                ));
            }
            Some(message)
        };
        let thread = thread::spawn("queue timer", watch).ok()?;
        Some(Self { done, thread })
    }

    /// The message, if it is in the outbox.
    fn stop(self) -> Option<Queued> {
        drop(self.done);
        self.thread.join().ok()?
    }
}

/// How a message went, in a sentence.
pub(super) fn describe(to: &Name, sent: &Submission) -> String {
    let delivery = match sent {
        Submission::Queued(why) => {
            return format!("{why}\n{}", queued(to));
        }
        Submission::Delivered(delivery) => delivery,
    };
    match delivery {
        SendReport::Acknowledged => format!("{to} has it."),
        SendReport::Sent => format!("Sent to {to}, whose client cannot confirm it."),
        SendReport::Stored(StoredBecause::Offline, _) => {
            format!("{to} is offline: the server keeps it.")
        }
        SendReport::Stored(StoredBecause::Unanswered, _) => {
            format!("{to} does not answer: the server keeps it.")
        }
        SendReport::Stored(StoredBecause::Unfit, _) => {
            format!("It does not fit a datagram: the server keeps it for {to}.")
        }
        SendReport::Stored(StoredBecause::Unasked, _) => {
            format!("The server has your message for {to}.")
        }
    }
}

/// What is said of a message that was queued.
pub(super) fn queued(to: &Name) -> String {
    format!("queued: will be sent later, to {to}")
}
