//! `WATCH`: each message as it comes.

use std::io;
use std::time::Duration;

use super::mailbox::to_wire;
use super::state::{Leased, Session, SessionError, Watch};
use crate::name::Name;
use crate::server::connection::Pace;
use crate::server::talk::conversation::GATHER;
use crate::store::StoreError;
use crate::sys::clock::Deadline;
use crate::wire::code::Code;
use crate::wire::session::{PING_INTERVAL, encode_message};

/// How many bytes are handed out to a client that watches before its requests are looked at again.
const PUSH: usize = 256 * 1024;
/// How long the kernel of a client that watches may acknowledge nothing.
const VANISHED: Duration = Duration::from_secs(90);

/// Why messages are not handed out to a client that watches.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broken(#[from] io::Error),
}

impl<'a> Session<'_, 'a> {
    /// Hands out what waits, and what comes, from now on.
    pub(super) fn watch(&mut self) -> Result<(), SessionError> {
        let name = self.named()?;
        if self.watch.is_some() {
            return Err(self.error(Code::Syntax, "WATCH goes on already"));
        }
        self.leased = None;
        // The bell first: a message that comes between the two is seen, and rings for nothing.
        let bell = self.talk.store.bell(&name);
        let bell = bell.map_err(|e| self.refuse(&format!("watch {name}"), e))?;
        self.watch = Some(Watch {
            bell,
            more: true,
            ping: Deadline::after(PING_INTERVAL),
        });
        self.talk.connection.give_up_after(VANISHED)?;
        self.doing("watch");
        Ok(())
    }

    /// The bell has rung: there are messages.
    pub(super) fn rang(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.bell.silence();
            watch.more = true;
        }
    }

    /// The client has just been told that the server lives.
    pub(super) fn pinged(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.ping = Deadline::after(PING_INTERVAL);
        }
    }

    /// Hands out some of what has come to a client that watches.
    pub(super) fn push(&mut self) -> Result<(), SessionError> {
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
            Ok(Some(mut leased)) => {
                let pushed = self.push_some(&mut leased);
                self.leased = Some(leased);
                pushed
            }
            Ok(None) => Ok(false),
            Err(e) => Err(e.into()),
        };
        match pushed {
            Ok(more) => {
                if let Some(watch) = &mut self.watch {
                    watch.more = more;
                }
            }
            Err(PushError::Store(e)) => {
                self.refuse(&format!("watch {name}"), e);
                self.watch = None;
                self.leased = None;
            }
            Err(PushError::Broken(e)) => return Err(e.into()),
        }
        self.pinged();
        Ok(())
    }

    /// The lease on the mailbox, with what has come since; `None` while there is no mailbox.
    fn leased(&mut self, name: &Name) -> Result<Option<Leased<'a>>, StoreError> {
        match self.leased.take() {
            Some(mut leased) => {
                leased.waiting.refresh()?;
                Ok(Some(leased))
            }
            None => {
                let waiting = self.talk.store.fetch(name)?;
                Ok(waiting.map(|waiting| Leased {
                    waiting,
                    last: 0,
                    acked: 0,
                }))
            }
        }
    }

    /// Sends messages until there are no more, or it is time to hear what the client says; whether there may be
    /// more.
    fn push_some(&mut self, leased: &mut Leased<'_>) -> Result<bool, PushError> {
        let mut pushed = 0;
        let mut pace = Pace::new(self.talk.config.request_timeout);
        while pushed < PUSH {
            let Some(message) = leased.waiting.next()? else {
                return Ok(false);
            };
            if leased.last == 0 {
                leased.acked = message.seq.saturating_sub(1);
            }
            leased.last = message.seq;
            self.shown = self.shown.max(message.seq);
            self.tally.handed_out += 1;
            encode_message(&mut self.out, &to_wire(&message));
            if self.out.len() >= GATHER {
                pushed += self.out.len();
                self.flush_within(&mut pace)?;
            }
        }
        Ok(true)
    }
}
