//! Registers and deregisters the user's name.

use std::io;

use super::context::Menu;
use crate::client::command::read::PrintingSink;
use crate::client::link::{DialectChoice, LinkError, Registered};
use crate::client::view::{self, Form};
use crate::name::Name;

impl Menu {
    /// Changes the user's name to `name` and goes online, unless `name` is online at another client.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn register(&mut self, name: &Name) -> io::Result<()> {
        let Some(reception) = self.reception.clone() else {
            view::error(&LinkError::NoPresence(self.link.server().clone()));
            return Ok(());
        };
        // Ask the server even if this menu is online: another menu may have taken over the name.
        let was_online = *name == self.user && reception.presence.is_online();
        if reception.presence.has_no_listener() {
            return self.register_offline(name);
        }
        let mut sink = PrintingSink::new(name, Form::Text);
        let registered = self
            .link
            .register(name, reception.presence.address(), &mut sink);
        drop(sink);
        let found = match registered {
            // The name is this menu's own, taken over by another client. The client that registers last is online.
            Ok(Registered::Taken)
                if *name == self.user && self.link.dialect() != DialectChoice::Framed =>
            {
                Registered::Back
            }
            Ok(Registered::Taken) => {
                return view::show_wrapped(&format!(
                    "{name} is already online elsewhere; you are still {}.",
                    self.user
                ));
            }
            Ok(found) => found,
            Err(e) => {
                view::error(&e);
                return Ok(());
            }
        };
        if *name != self.user {
            reception.presence.release();
            reception.listener.listen_for(name);
            self.set_user(name);
        }
        match self.link.dialect() {
            DialectChoice::Framed => reception.presence.renew_for(name, true, None),
            _ => {
                if let Err(e) = reception.presence.go_online(name) {
                    view::error(&e);
                    return Ok(());
                }
            }
        }
        view::show_wrapped(&match found {
            Registered::New => format!("{name} is now registered; you are online."),
            _ if was_online => {
                format!(
                    "You are {name}, online at {}.",
                    reception.presence.address()
                )
            }
            _ => format!("Welcome back, {name}; you are online. Type 2 to read your messages."),
        })
    }

    /// Sets the user's name.
    fn set_user(&mut self, name: &Name) {
        self.user = name.clone();
        self.prompt.complete_for(name);
        if let Some(watcher) = &self.mailbox_watcher {
            watcher.watch(name);
        }
    }

    /// Changes the user's name to `name` and stays offline.
    fn register_offline(&mut self, name: &Name) -> io::Result<()> {
        self.set_user(name);
        view::show_wrapped(&format!(
            "You are {name}, but offline: instant messages are off because no listener is left. \
             Messages for you are stored on the server. Restart dropline to go online."
        ))
    }

    /// Removes the user's name from the server and goes offline.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn deregister(&mut self) -> io::Result<()> {
        let Some(reception) = &self.reception else {
            view::error(&LinkError::NoPresence(self.link.server().clone()));
            return Ok(());
        };
        reception.presence.release();
        match self.link.deregister(&self.user) {
            Ok(()) => view::show_wrapped(&format!(
                "{} is deregistered and offline. Type !register NAME to register again.",
                self.user
            ))?,
            Err(e) => view::error(&e),
        }
        Ok(())
    }
}
