//! Submits messages. Afterwards a message is stored on the server, queued in the outbox, or refused.

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
    #[error("cannot read the message from standard input: {0}")]
    Input(io::Error),
    /// The message is longer than any server accepts.
    #[error("the message is too long: no server takes more than {LARGEST_MAX_BODY} bytes")]
    TooLong,
    /// The server did not accept the message.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The server did not accept the message (and why), and the outbox cannot be written.
    #[error("{0}; and it cannot be queued: {1}; the message was NOT sent")]
    NotQueued(String, OutboxError),
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Server,
    /// To the recipient's client if the recipient is online, else to the server.
    Instant,
}

/// The outcome of a submission.
#[derive(Debug)]
pub(super) enum Submission {
    /// The server or the recipient's client has the message.
    Delivered(SendReport),
    /// The message is in the outbox, for this reason.
    Queued(String),
}

/// Sends the messages of one user. Queues those that the server cannot take now.
#[derive(Debug)]
pub(super) struct Submitter<'p> {
    pub(super) link: &'p Link,
    /// The configured server; `None` for the default.
    pub(super) named: Option<&'p Server>,
    pub(super) from: &'p Name,
    /// Recipients for whom earlier messages are still queued.
    pub(super) deferred: &'p Deferred,
}

impl Submitter<'_> {
    /// Sends `body` to `to`, with a time to live of `ttl` seconds if given.
    ///
    /// # Errors
    /// The message was not sent and is not queued, or it is unknown whether it was sent.
    pub(super) fn send(
        &self,
        to: &Name,
        body: &[u8],
        route: Route,
        ttl: Option<u64>,
    ) -> Result<Submission, SendError> {
        self.finish(self.begin(to, body, route, ttl)?)
    }

    /// Prepares a message and starts its queue timer. Sends nothing yet.
    ///
    /// # Errors
    /// The message is empty, or no id can be generated.
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
        // Only the session dialect stores a message once if it is sent again from the outbox.
        let guarded = self.link.dialect() == DialectChoice::Session;
        let limit = match route {
            Route::Server => SLOW,
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

    /// Sends a message that [`begin`](Self::begin) has prepared.
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
                    // If this fails, the message is sent again, and the server stores it once.
                    let _ = Outbox::open().and_then(|outbox| outbox.remove(&message.file_name()));
                }
                Ok(Submission::Delivered(done?))
            }
        }
    }

    /// Returns a note if the recipient is unknown to the server: the name may be misspelt.
    pub(super) fn unknown_recipient_notice(
        &self,
        to: &Name,
        delivery: SendReport,
    ) -> Option<String> {
        // A mailbox with earlier messages belongs to a known recipient.
        let SendReport::Stored(_, Some(1)) = delivery else {
            return None;
        };
        let is_known = self.link.with_short_timeouts().is_registered(self.from, to);
        matches!(is_known, Ok(false)).then(|| {
            format!("note: no user {to} is registered yet; the message waits in the mailbox")
        })
    }

    fn deliver(
        &self,
        letter: &Letter<'_>,
        route: Route,
        ttl: Option<u64>,
    ) -> Result<SendReport, LinkError> {
        // The framed dialect decides itself: for an online recipient, the server returns the address.
        if route == Route::Instant || self.link.dialect() == DialectChoice::Framed {
            return instant::deliver(self.link, letter, ttl);
        }
        match self.link.offer(letter, ttl)? {
            Offered::Stored(seq) => Ok(SendReport::Stored(StoredBecause::Closed, seq)),
            // Only the framed dialect returns an address.
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

/// A prepared message, with the timer that queues it.
pub(super) struct PendingMessage<'b> {
    letter: Letter<'b>,
    route: Route,
    ttl: Option<u64>,
    timer: Option<QueueTimer>,
}

/// How long the server may take to answer before the message is also put into the outbox.
const SLOW: Duration = Duration::from_millis(500);

/// Puts a message into the outbox if the server is slow, so that the message survives if this process is ended.
struct QueueTimer {
    /// Dropped to stop the timer.
    done: Sender<()>,
    thread: JoinHandle<Option<Queued>>,
}

impl QueueTimer {
    /// Starts the timer: the message goes to the outbox after [`SLOW`], and a notice is printed after `limit`.
    fn start(message: Queued, limit: Duration) -> Option<Self> {
        let (done, is_done) = channel::<()>();
        let is_slow = move |limit| is_done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        let watch = move || {
            if !is_slow(SLOW) {
                return None;
            }
            // If the outbox fails, the message is still sent, without this protection.
            Outbox::open()
                .and_then(|outbox| outbox.put(&message))
                .ok()?;
            if is_slow(limit - SLOW) {
                view::notice(&format!(
                    "dropline: the server does not answer yet; the message to {} is in the outbox",
                    message.to
                ));
            }
            Some(message)
        };
        let thread = thread::spawn("queue timer", watch).ok()?;
        Some(Self { done, thread })
    }

    /// Stops the timer. Returns the message if the timer has put it into the outbox.
    fn stop(self) -> Option<Queued> {
        drop(self.done);
        self.thread.join().ok()?
    }
}

/// Describes the outcome of a submission in a sentence.
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
        SendReport::Stored(StoredBecause::Closed, _) => {
            format!("The server has your message for {to}.")
        }
    }
}

/// Returns the notice for a queued message.
pub(super) fn queued(to: &Name) -> String {
    format!("queued: will be sent later, to {to}")
}
