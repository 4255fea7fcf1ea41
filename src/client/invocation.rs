//! What a command asks for before it runs: settings, a server, the user's name; and what is done with the outbox first.

use super::failure::Failure;
use super::link::{Link, Server};
use super::outbox::{Deferred, OutboxError, flush, flush_before_sending};
use super::settings::{Options, Settings};
use super::submission::Submitter;
use super::view;
use crate::name::Name;

/// What is done with the outbox before a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// Nothing: the command sends nothing, or flushes by itself.
    Never,
    /// What is queued is sent, unless another process is doing that.
    InPassing,
    /// What is queued is sent first; what cannot be sent holds up what the command sends after it.
    BeforeSending,
}

/// A command line, of which nothing is done yet.
#[derive(Debug)]
pub(super) struct Invocation<'c> {
    /// The options.
    pub(super) options: &'c Options,
    /// The server that was named, as an option or as HOST and PORT.
    pub(super) named: Option<Server>,
}

impl Invocation<'_> {
    /// The settings that are in force. From here on, the view has the colours that they say.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let settings = Settings::of(self.options, self.named.clone())?;
        view::use_colours(settings.colour());
        Ok(settings)
    }

    /// For a command that needs a server, and perhaps a name. Nothing is said to the server yet.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub(super) fn server(&self, outbox: Flush) -> Result<Client, Failure> {
        let settings = self.settings()?;
        let mut client = Client {
            link: Link::new(settings.server(), settings.dialect()),
            settings,
            verbose: self.options.verbose,
            deferred: Deferred::default(),
        };
        client.flush(outbox);
        Ok(client)
    }

    /// As [`server`](Self::server), for a command that needs the user's name.
    ///
    /// # Errors
    /// When the configuration is wrong, or nothing says who the user is.
    pub(super) fn user(&self, outbox: Flush) -> Result<(Client, Name), Failure> {
        let client = self.server(outbox)?;
        let user = client.user().ok_or(Failure::NoUser)?;
        Ok((client, user))
    }
}

/// What a command works with.
#[derive(Debug)]
pub(super) struct Client {
    /// The settings that are in force.
    pub(super) settings: Settings,
    /// The connections to the server.
    pub(super) link: Link,
    /// Whether more is said about what is done.
    pub(super) verbose: bool,
    /// What must wait behind messages of the outbox.
    deferred: Deferred,
}

impl Client {
    /// The user's name, if anything says it.
    pub(super) fn user(&self) -> Option<Name> {
        self.settings.user_at(self.link.server())
    }

    /// Flushes the outbox. What went wrong is printed: the command goes on.
    pub(super) fn flush(&mut self, outbox: Flush) {
        let failed = |error: OutboxError| {
            view::error(&error);
            Deferred::default()
        };
        match outbox {
            Flush::Never => {}
            // The next command sends what stays in the outbox; this one sends nothing.
            Flush::InPassing => drop(flush(false, self.verbose).unwrap_or_else(failed)),
            Flush::BeforeSending => {
                self.deferred = flush_before_sending(self.verbose).unwrap_or_else(failed);
            }
        }
    }

    /// What submits messages of `user`.
    pub(super) fn submitter<'c>(&'c self, user: &'c Name) -> Submitter<'c> {
        Submitter {
            link: &self.link,
            named: self.settings.server.value.as_ref(),
            from: user,
            deferred: &self.deferred,
        }
    }
}
