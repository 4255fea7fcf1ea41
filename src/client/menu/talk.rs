//! Sending from the menu, and talking line by line.

use super::prompt::Typed;
use super::{Menu, MenuError};
use crate::client::command::outbox::flush;
use crate::client::command::read::read;
use crate::client::command::send::{Post, Sent, Way, outcome};
use crate::client::instant::Delivery;
use crate::client::outbox::Stuck;
use crate::client::view::{self, Form, Printer};
use crate::name::Name;

impl Menu {
    /// Sends a message, if one was written, and says how it went.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn send(&mut self, to: &Name, message: Option<String>) -> Result<(), MenuError> {
        let Some(message) = message else {
            return Ok(());
        };
        if let Some(sent) = self.post(to, &message) {
            view::show(&outcome(to, &sent))?;
        } else {
            self.prompt.remember(&message);
            view::show("The arrow up brings back what you have written.")?;
        }
        Ok(())
    }

    /// Sends a message, or queues it; what went wrong was said where there is nothing.
    fn post(&self, to: &Name, message: &str) -> Option<Sent> {
        let sent = self.prompt.screen().busy(|| {
            // What was left over goes first.
            let stuck = flush(false, true).unwrap_or_else(|e| {
                view::complain(&e);
                Stuck::default()
            });
            let post = Post {
                link: &self.link,
                named: self.named.as_ref(),
                from: &self.user,
                stuck: &stuck,
            };
            post.send(to, message.as_bytes(), Way::Instant, None)
        });
        let sent = sent.inspect_err(|e| view::complain(e)).ok()?;
        if let (Sent::Queued(_), Some(postman)) = (&sent, &self.postman) {
            postman.wake();
        }
        Some(sent)
    }

    /// Talks to one person, line by line, until Ctrl-D.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn chat(&mut self, with: &Name) -> Result<(), MenuError> {
        view::show(&format!(
            "What you type goes to {with}, line by line. Ctrl-D leaves."
        ))?;
        loop {
            // What came by way of the server.
            let handed = self.prompt.screen().handed();
            let printer = Printer::paged(Form::Text);
            if let Err(e) = read(&self.link, &self.user, &handed, printer) {
                view::complain(&e);
            }
            let Typed::Text(text) = self.prompt.text(&format!("{}> ", self.user))? else {
                return Ok(());
            };
            let text = text.trim_end_matches('\n');
            if text.trim().is_empty() {
                continue;
            }
            match self.post(with, text) {
                Some(Sent::Gone(Delivery::Acknowledged)) => {}
                Some(sent) => view::show(&outcome(with, &sent))?,
                None => self.prompt.remember(text),
            }
        }
    }
}
