//! The state of an open menu.

use std::net::SocketAddr;
use std::sync::Arc;

use super::active_listener::ActiveListener;
use super::editor::Prompt;
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
    /// The active listener process.
    pub(super) listener: Arc<ActiveListener>,
    /// The lease that publishes the listener's address.
    pub(super) presence: Arc<PresenceLease>,
}

impl Reception {
    /// Prepares reception at this address. No listener is active yet.
    pub(super) fn at(address: SocketAddr, user: &Name, link: &Link) -> Self {
        let listener = Arc::new(ActiveListener::new(user.clone()));
        let presence = PresenceLease::new(link.clone(), address, Arc::clone(&listener));
        Self {
            listener,
            presence: Arc::new(presence),
        }
    }
}

/// An open menu. Its operations are in `sending`, `mailbox` and `registration`.
pub(super) struct Menu {
    pub(super) link: Link,
    /// The server given by the user, if any.
    pub(super) named: Option<Server>,
    pub(super) user: Name,
    pub(super) prompt: Prompt,
    /// How instant messages are received; `None` if they are off.
    pub(super) reception: Option<Reception>,
    /// The thread that sends queued messages.
    pub(super) outbox_worker: Option<OutboxWorker>,
    /// The thread that announces new messages at the server.
    pub(super) mailbox_watcher: Option<MailboxWatcher>,
    /// Whether to print additional notices.
    pub(super) verbose: bool,
}

impl Menu {
    /// Returns a submitter for the user's messages. `deferred` determines which of them must wait in the outbox.
    pub(super) fn submitter<'m>(&'m self, deferred: &'m Deferred) -> Submitter<'m> {
        Submitter {
            link: &self.link,
            named: self.named.as_ref(),
            from: &self.user,
            deferred,
        }
    }
}
