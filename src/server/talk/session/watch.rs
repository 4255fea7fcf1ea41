//! `WATCH`: sends each message as it arrives.

use std::io;
use std::time::{Duration, Instant};

use super::mailbox::to_wire;
use super::state::{Leased, Session, SessionError, Watch};
use crate::name::Name;
use crate::server::connection::Pace;
use crate::server::talk::conversation::GATHER;
use crate::store::StoreError;
use crate::sys::clock::Deadline;
use crate::wire::code::Code;
use crate::wire::session::{PING_INTERVAL, encode_message};

/// The number of bytes sent to a watching client before its requests are processed again.
const PUSH: usize = 256 * 1024;
/// How long the kernel of a watching client may acknowledge nothing before the connection breaks.
const VANISHED: Duration = Duration::from_secs(90);

/// Why messages cannot be sent to a watching client.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broken(#[from] io::Error),
}

impl<'a> Session<'_, 'a> {
    /// Sends waiting and new messages from now on.
    pub(super) fn watch(&mut self) -> Result<(), SessionError> {
        let name = self.named()?;
        if self.watch.is_some() {
            return Err(self.error(Code::Syntax, "WATCH goes on already"));
        }
        self.leased = None;
        // Take the bell before reading the mailbox, so that a message that arrives in between cannot be missed.
        let bell = self.talk.store.bell(&name);
        let bell = bell.map_err(|e| self.refuse(&format!("watch {name}"), e))?;
        self.watch = Some(Watch {
            bell,
            more: true,
            ping: Deadline::after(PING_INTERVAL),
        });
        self.talk.connection.give_up_after(VANISHED)?;
        self.doing("session watch", "watch");
        Ok(())
    }

    /// Resets the bell that has rung, so that the mailbox is read again.
    pub(super) fn rang(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.bell.silence();
            watch.more = true;
        }
    }

    /// Restarts the `PING` interval, after something was sent to the client.
    pub(super) fn pinged(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.ping = Deadline::after(PING_INTERVAL);
        }
    }

    /// Sends some of the new messages to a watching client.
    pub(super) fn push(&mut self) -> Result<(), SessionError> {
        let Some(name) = self.name.clone() else {
            return Ok(());
        };
        if !self.watch.as_ref().is_some_and(|watch| watch.more) {
            return self.let_go(&name);
        }
        // Before the mailbox is leased again, which counts as a use of a name that the operator has released.
        self.let_go(&name)?;
        let leased = self.leased(&name);
        // Messages that arrive after a claim belong to the owner. Checked after reading the mailbox: if no login has
        // claimed the name now, none had when the messages arrived.
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

    /// Returns the lease on the mailbox with the messages that have arrived since; `None` while there is no mailbox.
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

    /// Sends messages until there are none left or the client's requests are due. Returns whether there may be more.
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
            self.active = Instant::now();
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
