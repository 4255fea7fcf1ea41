//! A session: what it holds, the answers that were not sent yet, and whose it is. A login may claim the name of an open
//! client at any time.

use std::fmt;
use std::io;

use crate::name::Name;
use crate::server::connection::Pace;
use crate::server::principal::{Act, Refused};
use crate::server::scoreboard::Counter;
use crate::server::talk::conversation::Conversation;
use crate::store::{Bell, Waiting};
use crate::sys::clock::Deadline;
use crate::wire::code::Code;
use crate::wire::session::{AnswerLine, VERSION};

/// A session, as far as it has come.
pub(super) struct Session<'t, 'a> {
    pub(super) talk: &'t mut Conversation<'a>,
    /// Whose it is. A session without a name may only look around.
    pub(super) name: Option<Name>,
    pub(super) greeted: bool,
    /// Answers that were not sent yet.
    pub(super) out: Vec<u8>,
    pub(super) leased: Option<Leased<'a>>,
    pub(super) watch: Option<Watch<'a>>,
    /// The highest number of a message that was shown to this session, by any request.
    pub(super) shown: u64,
    /// Why the client may not act as the name, if it may not.
    pub(super) denied: Option<String>,
    pub(super) tally: Tally,
}

/// Messages that were handed out, and are leased until they are acknowledged.
pub(super) struct Leased<'a> {
    pub(super) waiting: Box<dyn Waiting + 'a>,
    /// The number of the last of them; 0 while there is none.
    pub(super) last: u64,
    /// Up to which number they are acknowledged.
    pub(super) acked: u64,
}

/// That the mailbox is watched.
pub(super) struct Watch<'a> {
    pub(super) bell: Box<dyn Bell + 'a>,
    /// Whether there may be messages that were not handed out yet.
    pub(super) more: bool,
    /// When the client is told that the server lives.
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

/// Why a request is not done, or the session ends.
pub(super) enum SessionError {
    /// The client was told why a request is not done. The session goes on.
    Told,
    /// The connection is broken, or the client too slow to read.
    Broken(io::Error),
    /// The session ends. The client was told, or needs not be.
    Over,
    /// The client was told that it took too long.
    Slow,
    /// What it says is not this dialect.
    Garbage,
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl<'t, 'a> Session<'t, 'a> {
    /// A session that has not begun.
    pub(super) fn new(talk: &'t mut Conversation<'a>) -> Self {
        Self {
            talk,
            name: None,
            greeted: false,
            out: Vec::new(),
            leased: None,
            watch: None,
            shown: 0,
            denied: None,
            tally: Tally::default(),
        }
    }

    /// What the session has done, for the log.
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

    /// Whose session it is, for people.
    pub(super) fn whose(&self) -> String {
        let name = self.name.as_ref();
        name.map_or("nobody".into(), |name| self.talk.marked(name))
    }

    /// Shows what is done on the scoreboard and in `ps`.
    pub(super) fn doing(&self, what: &str) {
        self.talk.doing(&format!("{what} {}", self.whose()));
    }

    /// Answers that a request was done, and says nothing more.
    pub(super) fn ok(&mut self) -> Result<(), SessionError> {
        AnswerLine::begin(&mut self.out, "OK").end();
        Ok(())
    }

    /// Answers that a request was not done.
    pub(super) fn error(&mut self, code: Code, text: impl fmt::Display) -> SessionError {
        self.tally.errors += 1;
        AnswerLine::begin(&mut self.out, "ERR")
            .word(code)
            .word(text)
            .end();
        SessionError::Told
    }

    /// Answers that a request was not done, while `what` was.
    pub(super) fn refuse(&mut self, what: &str, error: impl Into<Refused>) -> SessionError {
        self.tell(what, &error.into())
    }

    /// The same for a reason that several requests share. What the client may not do is noted for the log of the session;
    /// what it can do nothing about is logged at once.
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

    /// Sends the answers.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.flush_within(&mut Pace::new(self.talk.config.request_timeout))?;
        }
        Ok(())
    }

    /// The same for a part of an answer, all of which has one pace.
    pub(super) fn flush_within(&mut self, pace: &mut Pace) -> io::Result<()> {
        self.talk.connection.send(&self.out, pace)?;
        self.out.clear();
        Ok(())
    }

    /// Begins the session.
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
        self.doing("session");
        Ok(())
    }

    /// The name of the session, which the request acts as.
    ///
    /// # Errors
    /// When it has none, or when the name is another's by now.
    pub(super) fn named(&mut self) -> Result<Name, SessionError> {
        let Some(name) = self.name.clone() else {
            return Err(self.anonymous());
        };
        self.keeps(&name)?;
        Ok(name)
    }

    /// Answers a request that needs a name, in a session without one.
    pub(super) fn anonymous(&mut self) -> SessionError {
        let text = format!("say who you are: HELLO {VERSION} name=NAME");
        self.error(Code::Name, text)
    }

    /// Whether the session may go on as `name`.
    ///
    /// # Errors
    /// When it may not; then it has nothing leased any more.
    pub(super) fn keeps(&mut self, name: &Name) -> Result<(), SessionError> {
        let may = self.talk.may(Act::StillAs(name));
        if matches!(may, Err(Refused::Denied(_))) {
            self.leased = None;
        }
        may.map_err(|refused| self.refuse("who may", refused))
    }

    /// Ends what the session holds if the name is another's by now: its lease, so that the name's owner can read; and its
    /// watch, and with that the session.
    pub(super) fn let_go(&mut self, name: &Name) -> Result<(), SessionError> {
        if self.watch.is_none() {
            self.drop_lost_lease();
        } else if self.keeps(name).is_err() {
            self.watch = None;
            return Err(SessionError::Over);
        }
        Ok(())
    }

    /// Drops the lease of a session that may not go on. With its next request it is told why.
    pub(super) fn drop_lost_lease(&mut self) {
        if let (Some(name), true) = (&self.name, self.leased.is_some())
            && self.talk.may(Act::StillAs(name)).is_err()
        {
            self.leased = None;
        }
    }

    /// Whether a lease is held that the owner of the name could want, and no bell tells of that.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.leased.is_some() && self.watch.is_none() && self.talk.principal.can_lose_its_name()
    }
}
