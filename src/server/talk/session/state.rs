//! The state of a session: its name, its leases, and the answers that were not sent yet. A login may claim the name of
//! an open client at any time.

use std::fmt;
use std::io;
use std::time::Instant;

use crate::name::Name;
use crate::server::connection::Pace;
use crate::server::principal::{Act, Refused};
use crate::server::scoreboard::Counter;
use crate::server::talk::conversation::Conversation;
use crate::store::{Bell, Waiting};
use crate::sys::clock::Deadline;
use crate::wire::code::Code;
use crate::wire::session::{AnswerLine, VERSION};

pub(super) struct Session<'t, 'a> {
    pub(super) talk: &'t mut Conversation<'a>,
    /// The name that it acts as. Without one, it may only use `WHO` and `LOOKUP`.
    pub(super) name: Option<Name>,
    pub(super) greeted: bool,
    /// Answers that were not sent yet.
    pub(super) out: Vec<u8>,
    pub(super) leased: Option<Leased<'a>>,
    pub(super) watch: Option<Watch<'a>>,
    /// When the client last made a request, or was last sent a message.
    pub(super) active: Instant,
    /// The highest number of a message that any request has shown to this session.
    pub(super) shown: u64,
    /// The last denial, for the log.
    pub(super) denied: Option<String>,
    pub(super) tally: Tally,
}

/// The lease on the mailbox, for messages that were sent to the client and are not acknowledged yet.
pub(super) struct Leased<'a> {
    pub(super) waiting: Box<dyn Waiting + 'a>,
    /// The number of the last message sent; 0 while there is none.
    pub(super) last: u64,
    /// The number up to which messages are acknowledged.
    pub(super) acked: u64,
}

/// A watch on the mailbox.
pub(super) struct Watch<'a> {
    pub(super) bell: Box<dyn Bell + 'a>,
    /// Whether there may be messages that were not sent to the client yet.
    pub(super) more: bool,
    /// When to send the next `PING`.
    pub(super) ping: Deadline,
}

/// What the session has done, for the log.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) handed_out: u64,
    pub(super) acknowledged: u64,
    pub(super) errors: u64,
}

/// Why a request is not done, or why the session ends.
pub(super) enum SessionError {
    /// The request was answered with an error. The session continues.
    Told,
    /// The connection is broken, or the client reads too slowly.
    Broken(io::Error),
    /// The session ends. No further answer is needed.
    Over,
    /// The client took too long and was answered with an error.
    Slow,
    /// The client's input is not this dialect.
    Garbage,
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl<'t, 'a> Session<'t, 'a> {
    pub(super) fn new(talk: &'t mut Conversation<'a>) -> Self {
        Self {
            talk,
            name: None,
            greeted: false,
            out: Vec::new(),
            leased: None,
            watch: None,
            active: Instant::now(),
            shown: 0,
            denied: None,
            tally: Tally::default(),
        }
    }

    /// Returns a summary of the session for the log.
    pub(super) fn summary(&self) -> String {
        let Tally {
            sent,
            handed_out,
            acknowledged,
            errors,
        } = self.tally;
        let who = self.whose();
        format!(
            "session of {who}: {sent} sent, {handed_out} handed out, {acknowledged} acknowledged, {errors} errors"
        )
    }

    /// Returns the name of the session as text for people.
    pub(super) fn whose(&self) -> String {
        let name = self.name.as_ref();
        name.map_or("an unnamed client".into(), |name| self.talk.marked(name))
    }

    /// Shows the current activity, `what`, like [`Conversation::doing`].
    pub(super) fn doing(&self, request: &str, what: &str) {
        self.talk
            .doing(request, &format!("{what} {}", self.whose()));
    }

    /// Answers `OK` without further fields.
    pub(super) fn ok(&mut self) -> Result<(), SessionError> {
        AnswerLine::begin(&mut self.out, "OK").end();
        Ok(())
    }

    /// Answers with an error.
    pub(super) fn error(&mut self, code: Code, text: impl fmt::Display) -> SessionError {
        self.tally.errors += 1;
        AnswerLine::begin(&mut self.out, "ERR")
            .word(code)
            .word(text)
            .end();
        SessionError::Told
    }

    /// Answers that `what` was refused or failed.
    pub(super) fn refuse(&mut self, what: &str, error: impl Into<Refused>) -> SessionError {
        self.tell(what, &error.into())
    }

    /// Like [`refuse`](Self::refuse), for an error that several requests share. A denial is kept for the log line of
    /// the session. An error that the client cannot act on is logged at once.
    pub(super) fn tell(&mut self, what: &str, refused: &Refused) -> SessionError {
        let Some(declined) = refused.declined() else {
            log::error!("{}: {what}: {refused}", self.talk.peer);
            self.talk.status.count(Counter::Failed, 1);
            return self.error(Code::Internal, "the server has failed; its log says why");
        };
        if matches!(refused, Refused::Denied(_)) {
            self.denied = Some(declined.to_string());
        }
        self.error(declined.code(), declined)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.flush_within(&mut Pace::new(self.talk.config.request_timeout))?;
        }
        Ok(())
    }

    /// Sends a part of an answer. All parts share one pace.
    pub(super) fn flush_within(&mut self, pace: &mut Pace) -> io::Result<()> {
        self.talk.connection.send(&self.out, pace)?;
        self.out.clear();
        Ok(())
    }

    pub(super) fn hello(&mut self, name: Option<Name>) -> Result<(), SessionError> {
        let name = name.or_else(|| self.talk.principal.login().cloned());
        let may = self.talk.may(match &name {
            Some(name) => Act::As(name),
            None => Act::Ask,
        });
        self.name = name;
        if let Err(refused) = may {
            self.refuse("hello", refused);
            return Err(SessionError::Over);
        }
        self.greeted = true;
        let mut line = AnswerLine::begin(&mut self.out, "OK").word(VERSION);
        if let Some(name) = &self.name {
            line = line.field("name", name);
        }
        line.field("trust", self.talk.principal.trust())
            .field("max-body", self.talk.config.max_body)
            .field("lease", self.talk.config.lease.as_secs())
            .end();
        self.talk.status.served();
        self.doing("session", "session");
        Ok(())
    }

    /// Checks that the client may still make requests, as its name if it has one.
    ///
    /// # Errors
    /// When it may not. A session with a name then loses its lease.
    pub(super) fn may_go_on(&mut self) -> Result<(), SessionError> {
        match self.name.clone() {
            Some(name) => self.keeps(&name),
            None => {
                let may = self.talk.may(Act::Ask);
                may.map_err(|refused| self.refuse("authorize", refused))
            }
        }
    }

    /// Returns the name of the session, which the request acts as.
    ///
    /// # Errors
    /// When the session has none.
    pub(super) fn named(&mut self) -> Result<Name, SessionError> {
        self.name.clone().ok_or_else(|| self.anonymous())
    }

    /// Answers a request that needs a name, in a session without one.
    pub(super) fn anonymous(&mut self) -> SessionError {
        let text = format!("say who you are: HELLO {VERSION} name=NAME");
        self.error(Code::Name, text)
    }

    /// Checks that the session may still act as `name`.
    ///
    /// # Errors
    /// When it may not. It then loses its lease.
    pub(super) fn keeps(&mut self, name: &Name) -> Result<(), SessionError> {
        let may = self.talk.may(Act::StillAs(name));
        if matches!(may, Err(Refused::Denied(_))) {
            self.leased = None;
        }
        may.map_err(|refused| self.refuse("authorize", refused))
    }

    /// Ends the lease if a login has claimed the name, so that the owner can read. A watch ends as well, with the
    /// session.
    pub(super) fn let_go(&mut self, name: &Name) -> Result<(), SessionError> {
        if self.watch.is_none() {
            self.drop_lost_lease();
        } else if self.keeps(name).is_err() {
            self.watch = None;
            return Err(SessionError::Over);
        }
        Ok(())
    }

    /// Drops the lease if the session may not act as its name any more. Its next request is answered with the reason.
    pub(super) fn drop_lost_lease(&mut self) {
        if let (Some(name), true) = (&self.name, self.leased.is_some())
            && self.talk.may(Act::StillAs(name)).is_err()
        {
            self.leased = None;
        }
    }

    /// Returns whether the session holds a lease that a new owner of the name may need, and has no bell to report that.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.leased.is_some() && self.watch.is_none() && self.talk.principal.can_lose_its_name()
    }
}
