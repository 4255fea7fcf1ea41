//! What the menu has while it is open.

use std::net::SocketAddr;
use std::sync::Arc;

use super::editor::Prompt;
use super::inbox_watcher::ActiveListener;
use super::mailbox_watcher::MailboxWatcher;
use super::outbox_worker::OutboxWorker;
use super::presence::PresenceLease;
use crate::client::link::{Link, Server};
use crate::client::outbox::Deferred;
use crate::client::submission::Submitter;
use crate::name::Name;

/// How this menu receives instant messages.
#[derive(Clone)]
pub(super) struct Reception {
    /// The listener that has the socket.
    pub(super) listener: Arc<ActiveListener>,
    /// The lease by which others find it.
    pub(super) presence: Arc<PresenceLease>,
}

impl Reception {
    /// At this address, where nothing listens yet.
    pub(super) fn at(address: SocketAddr, user: &Name, link: &Link) -> Self {
        Self {
            listener: Arc::new(ActiveListener::new(user.clone())),
            presence: Arc::new(PresenceLease::new(link.clone(), address)),
        }
    }
}

/// An open menu. What it can do is in the files that send, show the mailbox, and register names.
pub(super) struct Menu {
    /// The connections to the server.
    pub(super) link: Link,
    /// The server that was named, if one was.
    pub(super) named: Option<Server>,
    /// Who the user is.
    pub(super) user: Name,
    /// The prompts.
    pub(super) prompt: Prompt,
    /// How instant messages come in, where they can.
    pub(super) reception: Option<Reception>,
    /// Sends what is in the outbox, beside the menu.
    pub(super) outbox_worker: Option<OutboxWorker>,
    /// Tells of what comes by way of the server.
    pub(super) mailbox_watcher: Option<MailboxWatcher>,
    /// Whether more is said.
    pub(super) verbose: bool,
}

impl Menu {
    /// What submits messages of the user; `deferred` is what must wait.
    pub(super) fn submitter<'m>(&'m self, deferred: &'m Deferred) -> Submitter<'m> {
        Submitter {
            link: &self.link,
            named: self.named.as_ref(),
            from: &self.user,
            deferred,
        }
    }
}
