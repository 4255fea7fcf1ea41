//! Who one is in the menu: taking a name, and having it forgotten.

use std::io;

use super::context::Menu;
use crate::client::command::read::PrintingSink;
use crate::client::link::{DialectChoice, LinkError, Registered};
use crate::client::view::{self, Form};
use crate::name::Name;

impl Menu {
    /// Becomes `name`, if nobody else is that.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn register(&mut self, name: &Name) -> io::Result<()> {
        let Some(reception) = self.reception.clone() else {
            view::error(&LinkError::NoPresence(self.link.server().clone()));
            return Ok(());
        };
        // The server is asked: another menu may have the name by now, and whoever asks last has it.
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
            // We have been there before, and whoever asks last has it.
            Ok(Registered::Taken)
                if *name == self.user && self.link.dialect() != DialectChoice::Framed =>
            {
                Registered::Back
            }
            Ok(Registered::Taken) => {
                return view::show_wrapped(&format!(
                    "{name} is online already, somewhere else; you are still {}.",
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
            Registered::New => format!("{name} is a new name, and yours; you are online."),
            _ if was_online => {
                format!(
                    "You are {name}, and online at {}.",
                    reception.presence.address()
                )
            }
            _ => format!("Welcome back, {name}; you are online. 2 reads what waits for you."),
        })
    }

    /// Is `name` from now on.
    fn set_user(&mut self, name: &Name) {
        self.user = name.clone();
        self.prompt.complete_for(name);
        if let Some(watcher) = &self.mailbox_watcher {
            watcher.watch(name);
        }
    }

    /// Becomes `name`, and stays offline.
    fn register_offline(&mut self, name: &Name) -> io::Result<()> {
        self.set_user(name);
        view::show_wrapped(&format!(
            "You are {name}, and offline: instant messages are off, as all listeners were lost. \
             The server keeps messages for you; leave and come back to be online."
        ))
    }

    /// Is forgotten by the server, and offline.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn deregister(&mut self) -> io::Result<()> {
        let Some(reception) = &self.reception else {
            view::error(&LinkError::NoPresence(self.link.server().clone()));
            return Ok(());
        };
        reception.presence.release();
        match self.link.deregister(&self.user) {
            Ok(()) => view::show_wrapped(&format!(
                "{} is forgotten, and offline; !register NAME makes you known again.",
                self.user
            ))?,
            Err(e) => view::error(&e),
        }
        Ok(())
    }
}
