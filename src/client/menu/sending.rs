//! Sending from the menu, and talking line by line.

use std::io;

use super::chat_reader;
use super::context::{Menu, Reception};
use super::editor::Typed;
use crate::client::instant::Delivery;
use crate::client::link::{Dialect, LinkError};
use crate::client::outbox::{Deferred, flush};
use crate::client::submission::{SendError, Sent, Way, outcome};
use crate::client::view;
use crate::name::Name;

impl Menu {
    /// Sends a message, if one was written, and says how it went.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn send(&mut self, to: &Name, message: Option<String>) -> io::Result<()> {
        let Some(message) = message else {
            return Ok(());
        };
        if let Some(sent) = self.post(to, &message) {
            view::tell(&outcome(to, &sent))?;
            self.note(to, &sent)?;
        } else {
            self.prompt.remember(&message);
            view::tell("The arrow up brings back what you have written.")?;
        }
        Ok(())
    }

    /// Sends a message, or queues it; what went wrong was said where there is nothing.
    fn post(&self, to: &Name, message: &str) -> Option<Sent> {
        let sent = self.prompt.screen().busy(|| {
            let nothing = Deferred::default();
            let begun =
                self.submitter(&nothing)
                    .begin(to, message.as_bytes(), Way::Instant, None)?;
            // What was left over goes first.
            let deferred = flush(false, true).unwrap_or_else(|e| {
                view::complain(&e);
                Deferred::default()
            });
            self.submitter(&deferred).finish(begun)
        });
        let sent = sent.inspect_err(|e: &SendError| view::complain(e)).ok()?;
        self.prompt.add_recipient(to);
        if let (Sent::Queued(_), Some(worker)) = (&sent, &self.outbox_worker) {
            worker.wake();
        }
        Some(sent)
    }

    /// Says so if nobody knows the recipient.
    fn note(&self, to: &Name, sent: &Sent) -> io::Result<()> {
        let nothing = Deferred::default();
        let note = match sent {
            Sent::Gone(delivery) => self.submitter(&nothing).note(to, *delivery),
            Sent::Queued(_) => None,
        };
        note.map_or(Ok(()), |note| view::tell(&note))
    }

    /// Whether nothing waits at the server: the old chat server keeps nothing for those who are online, and hands
    /// out what it has kept when they come.
    fn is_told_at_once(&self) -> bool {
        let is_online = |reception: &Reception| reception.presence.is_online();
        self.link.dialect() == Dialect::Framed && self.reception.as_ref().is_some_and(is_online)
    }

    /// Talks to one person, line by line, until Ctrl-D. What others send is shown as being from them.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn chat(&mut self, with: &Name) -> io::Result<()> {
        view::tell(&format!(
            "What you type goes to {with}, line by line. Ctrl-D leaves."
        ))?;
        self.prompt.screen().talk_with(with);
        let mut told = None;
        loop {
            // What came by way of the server; what comes while somebody types, the mailbox watcher shows.
            let heard = match self.is_told_at_once() {
                true => Ok(()),
                false => chat_reader::read(&self.link, &self.user, self.prompt.screen()),
            };
            match heard {
                // It may be reading just now.
                Ok(()) | Err(LinkError::Later(_)) => told = None,
                Err(e) => {
                    let trouble = e.to_string();
                    if told.as_ref() != Some(&trouble) {
                        view::complain(&e);
                        told = Some(trouble);
                    }
                }
            }
            let Typed::Text(text) = self.prompt.talk(&format!("{}> ", self.user))? else {
                return Ok(());
            };
            let text = text.trim_end_matches('\n');
            if text.trim().is_empty() {
                continue;
            }
            match self.post(with, text) {
                Some(Sent::Gone(Delivery::Acknowledged)) => {}
                Some(sent) => {
                    view::tell(&outcome(with, &sent))?;
                    self.note(with, &sent)?;
                }
                None => self.prompt.remember(text),
            }
        }
    }
}
