//! The lease by which others find us, renewed while the menu is open and given back at its end.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::editor::Screen;
use crate::client::link::{LeaseState, Link, LinkError};
use crate::name::Name;

/// After which time one tries again when the server did not answer.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a renewal that is under way may hold up the end of the menu.
const LAST_RENEWAL: Duration = Duration::from_secs(2);

/// The lease of one menu.
#[derive(Debug)]
pub(super) struct PresenceLease {
    link: Link,
    address: SocketAddr,
    state: Mutex<PresenceState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PresenceState {
    /// Who is to be online.
    name: Option<Name>,
    /// When the lease is to be renewed; never where it lasts by itself.
    due: Option<Instant>,
    /// Whether others see us; what became of it was said when it changed.
    is_online: bool,
    is_renewing: bool,
    /// Whether nobody listens any more.
    has_no_listener: bool,
    is_over: bool,
}

impl PresenceLease {
    /// Nobody is online yet.
    pub(super) fn new(link: Link, address: SocketAddr) -> Self {
        Self {
            link,
            address,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, PresenceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where instant messages come in.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether others see us.
    pub(super) fn is_online(&self) -> bool {
        self.state().is_online
    }

    /// Whether nobody listens any more: then nobody is to be online.
    pub(super) fn has_no_listener(&self) -> bool {
        self.state().has_no_listener
    }

    /// Nobody listens any more: gives the lease back, for good.
    pub(super) fn stop(&self) {
        self.state().has_no_listener = true;
        self.release();
    }

    /// Keeps `name` online from now on: `since_now` when it has just become that, for so long as is said.
    pub(super) fn renew_for(&self, name: &Name, since_now: bool, lease: Option<Duration>) {
        let mut state = self.state();
        if state.has_no_listener {
            return;
        }
        state.name = Some(name.clone());
        state.is_online = since_now;
        state.due = match (since_now, lease) {
            (true, None) => None,
            (true, Some(lease)) => Some(Instant::now() + lease / 3),
            (false, _) => Some(Instant::now() + AGAIN),
        };
        drop(state);
        self.changed.notify_all();
    }

    /// Goes online as `name`.
    ///
    /// # Errors
    /// It is tried again later.
    pub(super) fn go_online(&self, name: &Name) -> Result<(), LinkError> {
        let lease = self.link.online(name, self.address);
        match &lease {
            Ok(lease) => self.renew_for(name, true, *lease),
            Err(_) => self.renew_for(name, false, None),
        }
        lease.map(drop)
    }

    /// Gives the lease back, and takes it no more until a name is to be online again. Where the server
    /// cannot be told, it ends by itself.
    pub(super) fn release(&self) {
        let waited = self
            .changed
            .wait_timeout_while(self.state(), LAST_RENEWAL, |state| state.is_renewing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let name = state.name.take();
        let was_online = std::mem::take(&mut state.is_online);
        state.due = None;
        drop(state);
        if let Some(name) = name.filter(|_| was_online) {
            let _ = self
                .link
                .with_short_timeouts()
                .offline(&name, self.address.port());
        }
    }

    /// As [`release`](Self::release), for good.
    pub(super) fn end(&self) {
        self.state().is_over = true;
        self.changed.notify_all();
        self.release();
    }

    /// Renews the lease again and again, on a thread of its own.
    pub(super) fn run(&self, screen: &Screen) {
        loop {
            let Some(name) = self.next_due() else {
                return;
            };
            let renewed = self.link.stay_online(&name, self.address);
            let mut state = self.state();
            state.is_renewing = false;
            let was_online = state.is_online;
            if state.name.as_ref() == Some(&name) {
                state.is_online = matches!(renewed, Ok(LeaseState::Ours(_)));
                state.due = match &renewed {
                    Ok(LeaseState::Ours(lease)) => lease.map(|lease| Instant::now() + lease / 3),
                    // Whoever has asked last has it; and an old server knows no such thing, as it turns out.
                    Ok(LeaseState::Elsewhere(_)) | Err(LinkError::NoPresence(_)) => None,
                    Err(_) => Some(Instant::now() + AGAIN),
                };
            }
            drop(state);
            self.changed.notify_all();
            match renewed {
                Ok(LeaseState::Elsewhere(address)) => screen.tell(&format!(
                    "{name} is online elsewhere now (at {address}), and instant messages go there; \
                     !register {name} brings them here."
                )),
                Ok(LeaseState::Ours(_)) if !was_online => {
                    screen.tell(&format!("{name} is online."))
                }
                // The mailbox watcher tells of a server that does not answer.
                Err(e) if was_online && !screen.is_server_gone() => screen.complain(&format!(
                    "{e}; others see {name} offline until that is over"
                )),
                _ => {}
            }
        }
    }

    /// Waits until the lease is to be renewed; `None` when that is over.
    fn next_due(&self) -> Option<Name> {
        let mut state = self.state();
        loop {
            if state.is_over {
                return None;
            }
            let now = Instant::now();
            let wait = match (&state.name, state.due) {
                (Some(name), Some(due)) if due <= now => {
                    let name = name.clone();
                    state.is_renewing = true;
                    return Some(name);
                }
                (Some(_), Some(due)) => due - now,
                _ => Duration::MAX,
            };
            let waited = self.changed.wait_timeout(state, wait);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}
