//! The presence lease: renewed while the menu is open, and released at its end.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::active_listener::ActiveListener;
use super::editor::Screen;
use crate::client::instant::HeldSecret;
use crate::client::link::{LeaseRequest, LeaseState, Link, LinkError};
use crate::message::{LeaseToken, TicketSecret};
use crate::name::Name;
use crate::wire::datagram::{SECRET_LIFETIME, SECRET_OVERLAP};

/// Longest time between two renewals, each of which gives the server another secret.
const RENEWAL: Duration = Duration::from_secs(60);
/// Pause before a retry after a failed renewal.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a release waits for a renewal in progress.
const LAST_RENEWAL: Duration = Duration::from_secs(2);

/// The presence lease of one menu.
#[derive(Debug)]
pub(super) struct PresenceLease {
    link: Link,
    address: SocketAddr,
    /// Receives the messages that are sealed with tickets of the lease.
    listener: Arc<ActiveListener>,
    state: Mutex<PresenceState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PresenceState {
    /// The name to keep online.
    name: Option<Name>,
    keys: Option<LeaseKeys>,
    /// When to renew the lease; `None` if no renewal is needed.
    due: Option<Instant>,
    /// Whether this menu holds the lease. Changes have been reported to the user.
    is_online: bool,
    is_renewing: bool,
    /// Whether all listeners have ended.
    has_no_listener: bool,
    is_over: bool,
}

/// What the server has been told about a lease.
#[derive(Clone, Copy, Debug)]
struct LeaseKeys {
    token: LeaseToken,
    /// The secret that the server has.
    secret: TicketSecret,
    /// The secret of a renewal that was not answered. The server may have it.
    next: Option<TicketSecret>,
}

impl LeaseKeys {
    fn new() -> io::Result<Self> {
        Ok(Self {
            token: LeaseToken::random()?,
            secret: TicketSecret::random()?,
            next: None,
        })
    }
}

impl PresenceLease {
    /// Creates a lease for this address. No name is online yet.
    pub(super) fn new(link: Link, address: SocketAddr, listener: Arc<ActiveListener>) -> Self {
        Self {
            link,
            address,
            listener,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, PresenceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the address for instant messages.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns whether this menu holds the lease.
    pub(super) fn is_online(&self) -> bool {
        self.state().is_online
    }

    /// Returns whether all listeners have ended; the menu then stays offline.
    pub(super) fn has_no_listener(&self) -> bool {
        self.state().has_no_listener
    }

    /// Releases the lease permanently, after the last listener has ended.
    pub(super) fn stop(&self) {
        self.state().has_no_listener = true;
        self.release();
    }

    /// Renews the lease of `name` from now on. With `since_now`, the name has just gone online for the time `lease`
    /// (without limit if `None`); otherwise the first attempt follows after `AGAIN`.
    pub(super) fn renew_for(&self, name: &Name, since_now: bool, lease: Option<Duration>) {
        let mut state = self.state();
        if state.has_no_listener {
            return;
        }
        state.name = Some(name.clone());
        state.is_online = since_now;
        state.due = match (since_now, lease) {
            (true, None) => None,
            (true, Some(lease)) => Some(Instant::now() + renewal(lease)),
            (false, _) => Some(Instant::now() + AGAIN),
        };
        drop(state);
        self.changed.notify_all();
    }

    /// Goes online as `name`.
    ///
    /// # Errors
    /// Those of the server. The renewal thread retries.
    pub(super) fn go_online(&self, name: &Name) -> Result<(), LinkError> {
        let keys = LeaseKeys::new().map_err(|e| LinkError::Random(e.to_string()))?;
        self.state().keys = Some(keys);
        let lease = self.exchange(&keys, keys.secret, |request| {
            self.link.online(name, request)
        });
        match &lease {
            Ok(lease) => self.renew_for(name, true, *lease),
            Err(_) => self.renew_for(name, false, None),
        }
        lease.map(drop)
    }

    /// Releases the lease and stops its renewal. If the server cannot be reached, the lease expires there.
    pub(super) fn release(&self) {
        let waited = self
            .changed
            .wait_timeout_while(self.state(), LAST_RENEWAL, |state| state.is_renewing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let name = state.name.take();
        let token = state.keys.take().map(|keys| keys.token);
        let was_online = std::mem::take(&mut state.is_online);
        state.due = None;
        drop(state);
        if let Some(name) = name.filter(|_| was_online) {
            let _ = self.link.with_short_timeouts().offline(&name, token);
        }
    }

    /// Releases the lease and ends the renewal thread.
    pub(super) fn end(&self) {
        self.state().is_over = true;
        self.changed.notify_all();
        self.release();
    }

    /// Renews the lease until [`end`](Self::end); runs on its own thread.
    pub(super) fn run(&self, screen: &Screen) {
        loop {
            let Some(name) = self.next_due() else {
                return;
            };
            let renewed = self.renewed(&name);
            let mut state = self.state();
            state.is_renewing = false;
            let was_online = state.is_online;
            if state.name.as_ref() == Some(&name) {
                state.is_online = matches!(renewed, Ok(LeaseState::Ours(_)));
                state.due = match &renewed {
                    Ok(LeaseState::Ours(lease)) => {
                        lease.map(|lease| Instant::now() + renewal(lease))
                    }
                    // Another client has taken over the name, or the server is old and has no presence.
                    Ok(LeaseState::Elsewhere) | Err(LinkError::NoPresence(_)) => None,
                    Err(_) => Some(Instant::now() + AGAIN),
                };
            }
            drop(state);
            self.changed.notify_all();
            match renewed {
                Ok(LeaseState::Elsewhere) => screen.tell(&format!(
                    "{name} is online in another client now, and instant messages go there. Type \
                     !register {name} to receive them here."
                )),
                Ok(LeaseState::Ours(_)) if !was_online => {
                    screen.tell(&format!("{name} is online."))
                }
                // The mailbox watcher reports a server that does not answer.
                Err(e) if was_online && !screen.is_server_gone() => screen.complain(&format!(
                    "{e}; other users see {name} as offline until this is resolved"
                )),
                _ => {}
            }
        }
    }

    /// Renews the lease of `name` with another secret, or takes it.
    fn renewed(&self, name: &Name) -> Result<LeaseState, LinkError> {
        let (keys, next) = self
            .next_secret()
            .map_err(|e| LinkError::Random(e.to_string()))?;
        let renewed = self.exchange(&keys, next, |request| self.link.stay_online(name, request))?;
        if let LeaseState::Ours(_) = renewed {
            // release() or go_online() may have replaced the keys meanwhile.
            let mut state = self.state();
            if let Some(now) = state.keys.as_mut().filter(|now| now.token == keys.token) {
                (now.secret, now.next) = (next, None);
            }
        }
        Ok(renewed)
    }

    /// Returns the keys of the lease, and the secret for its renewal.
    fn next_secret(&self) -> io::Result<(LeaseKeys, TicketSecret)> {
        let mut state = self.state();
        let mut keys = match state.keys {
            Some(keys) => keys,
            None => LeaseKeys::new()?,
        };
        let next = match keys.next {
            Some(next) => next,
            None => TicketSecret::random()?,
        };
        keys.next = Some(next);
        state.keys = Some(keys);
        Ok((keys, next))
    }

    /// Gives a secret to the server by `work`. The listener holds it before, and the earlier one for some time after that.
    fn exchange<T>(
        &self,
        keys: &LeaseKeys,
        secret: TicketSecret,
        work: impl FnOnce(&LeaseRequest<'_>) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        let is_verified = Cell::new(false);
        let hold = |secret, left| {
            self.listener.hold(HeldSecret {
                secret,
                is_verified: is_verified.get(),
                left,
            });
        };
        let done = work(&LeaseRequest {
            at: self.address,
            token: keys.token,
            secret,
            announce: &|verified| {
                is_verified.set(verified);
                hold(secret, SECRET_LIFETIME);
            },
        })?;
        if secret != keys.secret {
            hold(keys.secret, SECRET_OVERLAP);
        }
        Ok(done)
    }

    /// Waits until the lease is due for renewal. Returns `None` after [`end`](Self::end).
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

/// Returns the time until the renewal of a lease of this duration.
fn renewal(lease: Duration) -> Duration {
    RENEWAL.min(lease / 3)
}
