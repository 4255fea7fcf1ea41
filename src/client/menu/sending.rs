//! Sends messages from the menu, and runs the chat.

use std::io;

use super::chat_reader;
use super::context::{Menu, Reception};
use super::editor::Typed;
use crate::client::instant::SendReport;
use crate::client::link::{DialectChoice, LinkError};
use crate::client::outbox::{Deferred, flush};
use crate::client::submission::{Route, SendError, Submission, describe};
use crate::client::view;
use crate::name::Name;

impl Menu {
    /// Sends a message, if there is one, and prints the result.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn send(&mut self, to: &Name, message: Option<String>) -> io::Result<()> {
        let Some(message) = message else {
            return Ok(());
        };
        if let Some(sent) = self.post(to, &message) {
            view::print_line(&view::in_rows(&describe(to, &sent)))?;
            self.note(to, &sent)?;
        } else {
            self.prompt.remember(&message);
            view::show_wrapped("Press the up arrow to get your message back.")?;
        }
        Ok(())
    }

    /// Sends or queues a message. On failure, prints the error and returns `None`.
    fn post(&self, to: &Name, message: &str) -> Option<Submission> {
        let sent = self.prompt.screen().busy(|| {
            let nothing = Deferred::default();
            let begun =
                self.submitter(&nothing)
                    .begin(to, message.as_bytes(), Route::Instant, None)?;
            // Queued messages go first, to preserve the order.
            let deferred = flush(false, true).unwrap_or_else(|e| {
                view::error(&e);
                Deferred::default()
            });
            self.submitter(&deferred).finish(begun)
        });
        let sent = sent.inspect_err(|e: &SendError| view::error(e)).ok()?;
        self.prompt.add_recipient(to);
        if let (Submission::Queued(_), Some(worker)) = (&sent, &self.outbox_worker) {
            worker.wake();
        }
        Some(sent)
    }

    /// Prints a note if the recipient is not registered.
    fn note(&self, to: &Name, sent: &Submission) -> io::Result<()> {
        let nothing = Deferred::default();
        let note = match sent {
            Submission::Delivered(delivery) => self
                .submitter(&nothing)
                .unknown_recipient_notice(to, *delivery),
            Submission::Queued(_) => None,
        };
        note.map_or(Ok(()), |note| view::show_wrapped(&note))
    }

    /// Returns whether no message can wait: an old chat server delivers stored messages at registration, and stores
    /// none for online users.
    fn is_told_at_once(&self) -> bool {
        let is_online = |reception: &Reception| reception.presence.is_online();
        self.link.dialect() == DialectChoice::Framed
            && self.reception.as_ref().is_some_and(is_online)
    }

    /// Sends each line to `with`, until Ctrl-D. Messages from other senders are marked.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn chat(&mut self, with: &Name) -> io::Result<()> {
        view::show_wrapped(&format!(
            "Each line you type is sent to {with}. Ctrl-D exits."
        ))?;
        self.prompt.screen().chat_with(with);
        let mut told = None;
        loop {
            // Read messages from the server. While the prompt is open, the mailbox watcher does that.
            let heard = match self.is_told_at_once() {
                true => Ok(()),
                false => chat_reader::read(&self.link, &self.user, self.prompt.screen()),
            };
            match heard {
                // The mailbox watcher may be reading the mailbox right now.
                Ok(()) | Err(LinkError::Later(_)) => told = None,
                Err(e) => {
                    let trouble = e.to_string();
                    if told.as_ref() != Some(&trouble) {
                        view::error(&e);
                        told = Some(trouble);
                    }
                }
            }
            let Typed::Text(text) = self.prompt.chat_line(&format!("{}> ", self.user))? else {
                return Ok(());
            };
            let text = text.trim_end_matches('\n');
            if text.trim().is_empty() {
                continue;
            }
            match self.post(with, text) {
                Some(Submission::Delivered(SendReport::Acknowledged)) => {}
                Some(sent) => {
                    view::print_line(&view::in_rows(&describe(with, &sent)))?;
                    self.note(with, &sent)?;
                }
                None => self.prompt.remember(text),
            }
        }
    }
}
