//! Prepares a command: resolves the settings, the server and the user name, and flushes the outbox.

use super::failure::Failure;
use super::link::{Link, Server};
use super::outbox::{Deferred, OutboxError, flush, flush_before_sending};
use super::settings::{Options, Settings};
use super::submission::Submitter;
use super::view;
use crate::name::Name;

/// How the outbox is flushed before a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// No flush: the command sends nothing, or flushes the outbox itself.
    Never,
    /// Sends the queued messages, unless another process is sending them.
    InPassing,
    /// Sends the queued messages first. Those that cannot be sent hold back the messages of the command.
    BeforeSending,
}

/// A parsed command line.
#[derive(Debug)]
pub(super) struct Invocation<'c> {
    pub(super) options: &'c Options,
    /// The server from the option or from HOST and PORT.
    pub(super) named: Option<Server>,
}

impl Invocation<'_> {
    /// Resolves the settings, and applies the colour setting to the view.
    ///
    /// # Errors
    /// The configuration is wrong.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let settings = Settings::of(self.options, self.named.clone())?;
        view::use_colours(settings.colour());
        Ok(settings)
    }

    /// Prepares a command that needs a server. Connects only to flush the outbox.
    ///
    /// # Errors
    /// The configuration is wrong, or no server is named for a name that is not the login.
    pub(super) fn server(&self, outbox: Flush) -> Result<Client, Failure> {
        let settings = self.settings()?;
        if let Some(name) = settings.name_of_another() {
            return Err(Failure::NotYourName(name.clone()));
        }
        let mut client = Client {
            link: Link::new(settings.server(), settings.dialect()),
            settings,
            verbose: self.options.verbose,
            deferred: Deferred::default(),
        };
        client.flush(outbox);
        Ok(client)
    }

    /// As [`server`](Self::server), for a command that also needs the user name.
    ///
    /// # Errors
    /// The configuration is wrong, or there is no user name.
    pub(super) fn user(&self, outbox: Flush) -> Result<(Client, Name), Failure> {
        let client = self.server(outbox)?;
        let user = client.user().ok_or(Failure::NoUser)?;
        Ok((client, user))
    }
}

/// The settings and the server of a command.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) settings: Settings,
    pub(super) link: Link,
    pub(super) verbose: bool,
    /// The recipients for whom messages remain in the outbox. New messages to them must wait.
    deferred: Deferred,
}

impl Client {
    /// Returns the user name, if it is known.
    pub(super) fn user(&self) -> Option<Name> {
        self.settings.user_at(self.link.server())
    }

    /// Flushes the outbox. Prints errors and goes on: the command does not depend on the flush.
    pub(super) fn flush(&mut self, outbox: Flush) {
        let failed = |error: OutboxError| {
            view::error(&error);
            Deferred::default()
        };
        match outbox {
            Flush::Never => {}
            // The command sends nothing itself, so that no message has to wait for the deferred ones.
            Flush::InPassing => drop(flush(false, self.verbose).unwrap_or_else(failed)),
            Flush::BeforeSending => {
                self.deferred = flush_before_sending(self.verbose).unwrap_or_else(failed);
            }
        }
    }

    /// Returns a submitter for messages of `user`.
    pub(super) fn submitter<'c>(&'c self, user: &'c Name) -> Submitter<'c> {
        Submitter {
            link: &self.link,
            named: self.settings.server.value.as_ref(),
            from: user,
            deferred: &self.deferred,
        }
    }
}
