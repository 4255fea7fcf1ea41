//! Shows the mailbox, the history and the status in the menu.

use std::io;

use super::context::{Menu, Reception};
use crate::client::command::history::{HistoryFilter, history};
use crate::client::command::read::{Printed, read};
use crate::client::link::DialectChoice;
use crate::client::view::{self, Form, Printer};

impl Menu {
    /// Returns the number of waiting messages; `None` if it is unknown or the menu is offline.
    pub(super) fn waiting(&self) -> Option<u64> {
        let is_away = |reception: &Reception| !reception.presence.is_online();
        if self.reception.as_ref().is_some_and(is_away) {
            return None;
        }
        self.count()
    }

    /// Requests the number of waiting messages from the server; `None` on failure or in another dialect than `session`.
    pub(super) fn count(&self) -> Option<u64> {
        if self.link.dialect() != DialectChoice::Session {
            return None;
        }
        self.link.with_short_timeouts().count(&self.user).ok()
    }

    /// Shows the waiting messages.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn read(&self) -> io::Result<()> {
        let screen = self.prompt.screen();
        let printer = Printer::paged(Form::Text);
        match screen.lend(|| {
            read(
                &self.link.with_notice(view::notice),
                &self.user,
                &screen.handed(),
                printer,
            )
        }) {
            Ok(Printed { count: 0, .. }) => {
                view::show_wrapped(&format!("No messages for {}.", self.user))?;
            }
            Ok(Printed { last, .. }) => {
                if let Some(last) = last {
                    screen.shown_from(last);
                }
            }
            Err(e) => view::error(&e),
        }
        Ok(())
    }

    /// Shows messages read earlier.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn history(&self) -> io::Result<()> {
        let wanted = HistoryFilter::default();
        let printer = Printer::paged(Form::Dated);
        let screen = self.prompt.screen();
        match screen.lend(|| {
            history(
                &self.link.with_notice(view::notice),
                &self.user,
                &wanted,
                printer,
            )
        }) {
            Ok(0) => view::show_wrapped("The history is empty.")?,
            Ok(_) => {}
            Err(e) => view::error(&e),
        }
        Ok(())
    }

    /// Shows the user, the server, the presence and the counts.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn status(&self) -> io::Result<()> {
        let dialect = self.link.dialect();
        let server = self.link.server();
        let mut text = format!("{} at {server}, in the {dialect} dialect", self.user);
        let away = self.link.with_short_timeouts().greet(&self.user).err();
        if let Some(reception) = &self.reception {
            // Without an answer from the server, the lease may have expired: show offline.
            let state = if reception.presence.is_online() && away.is_none() {
                "online"
            } else {
                "offline"
            };
            text.push_str(&format!(", {state} at {}", reception.presence.address()));
        }
        if let Some(waiting) = self.count() {
            text.push_str(&format!(", {waiting} waiting"));
        }
        view::show_wrapped(&format!("{text}."))?;
        if let Some(e) = away {
            view::error(&e);
        }
        if let Some(reception) = &self.reception
            && !reception.listener.ask_counts()
        {
            view::show_wrapped("Instant messages are off: no listener is running.")?;
        }
        Ok(())
    }
}
