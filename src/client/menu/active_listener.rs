//! The active listener of the menu, which several threads use.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::instant::{HeldSecret, ListenerHandle, ListenerPool};
use crate::name::Name;
use crate::sys::clock::Deadline;

/// How long to wait for the listener's counts.
const COUNTING: Duration = Duration::from_millis(300);

/// The active listener, and the name and the secrets for which it receives messages.
#[derive(Debug)]
pub(super) struct ActiveListener {
    state: Mutex<ListenerState>,
    /// How many times the counts have been printed.
    counted: Mutex<u64>,
    counts: Condvar,
}

#[derive(Debug)]
struct ListenerState {
    name: Name,
    /// The secrets for this name, and until when they are good.
    secrets: Vec<(HeldSecret, Deadline)>,
    handle: Option<ListenerHandle>,
}

impl ActiveListener {
    /// Creates the state for `name`. No listener is active yet.
    pub(super) fn new(name: Name) -> Self {
        Self {
            state: Mutex::new(ListenerState {
                name,
                secrets: Vec::new(),
                handle: None,
            }),
            counted: Mutex::default(),
            counts: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, ListenerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives messages for this name from now on.
    pub(super) fn listen_for(&self, name: &Name) {
        let mut state = self.state();
        state.name = name.clone();
        state.secrets.clear();
        if let Some(handle) = &state.handle {
            // On failure, the listener has ended; its successor starts with the new name.
            let _ = handle.listen_for(name);
        }
    }

    /// Receives messages that are sealed with tickets of this secret, for as long as it says from now on.
    pub(super) fn hold(&self, mut held: HeldSecret) {
        let mut state = self.state();
        state.secrets.retain(|(other, until)| {
            let is_same = other.secret == held.secret;
            // A server that was not verified when it got the secret may be another one than that of today.
            held.is_verified &= !is_same || other.is_verified;
            !is_same && !until.passed()
        });
        state.secrets.push((held, Deadline::after(held.left)));
        if let Some(handle) = &state.handle {
            // On failure, the listener has ended; its successor starts with all secrets.
            let _ = handle.hold(&held);
        }
    }

    /// Requests the listener's counts, and waits briefly until they are printed. Returns whether a listener is active.
    pub(super) fn ask_counts(&self) -> bool {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *counted;
        let is_asked = {
            let state = self.state();
            let handle = state.handle.as_ref();
            handle.is_some_and(|handle| handle.ask_counts().is_ok())
        };
        if is_asked {
            let same = |counted: &mut u64| *counted == before;
            // Counts that arrive later are printed above the prompt.
            let _ = self.counts.wait_timeout_while(counted, COUNTING, same);
        }
        is_asked
    }

    /// Notes that the counts have been printed.
    pub(super) fn note_counts(&self) {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.counts.notify_all();
    }

    pub(super) fn name(&self) -> Name {
        self.state().name.clone()
    }

    /// Activates the next listener of the pool.
    pub(super) fn activate(&self, listeners: &mut ListenerPool) -> Option<ListenerHandle> {
        let mut state = self.state();
        let handle = listeners.activate(&state.name)?;
        for (held, until) in &state.secrets {
            let left = until.left();
            // On failure, the listener has ended, and another one is activated.
            let _ = handle.hold(&HeldSecret { left, ..*held });
        }
        state.handle = handle.try_clone().ok();
        Some(handle)
    }
}
