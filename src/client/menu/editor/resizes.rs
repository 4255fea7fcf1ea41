//! Forwards SIGWINCH to the editor, once the size of the terminal has settled.
//!
//! A window that is dragged by its corner changes its size many times a second. Each redraw in a narrower terminal
//! would leave remains of the old line on the screen.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::thread;
use crate::sys::signal::{Held, SIGWINCH};
use crate::sys::terminal;

/// How long the size must stay the same.
const REST: Duration = Duration::from_millis(100);

/// The last resize forwarded to the editor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::client::menu) struct Resize {
    /// How many resizes were forwarded.
    pub(in crate::client::menu) times: usize,
    /// The width at the last one, in columns.
    pub(in crate::client::menu) columns: usize,
}

/// The record of forwarded resizes, from which [`line`](super::line) infers the width that the editor assumes.
#[derive(Clone, Debug, Default)]
pub(in crate::client::menu) struct ResizeLog(Arc<Mutex<Resize>>);

impl ResizeLog {
    fn state(&self) -> MutexGuard<'_, Resize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the last forwarded resize.
    pub(in crate::client::menu) fn last(&self) -> Resize {
        *self.state()
    }

    fn add(&self, columns: usize) {
        let mut state = self.state();
        state.times += 1;
        state.columns = columns;
    }
}

/// Holds back SIGWINCH until [`forward`] is called.
///
/// # Errors
/// Those of pthread_sigmask(3); this call has none.
pub(in crate::client::menu) fn hold() -> io::Result<Held> {
    Held::new(SIGWINCH)
}

/// Starts a thread that forwards resizes to the editor.
///
/// # Errors
/// The thread cannot be started.
pub(in crate::client::menu) fn forward(held: Held, log: &ResizeLog) -> io::Result<()> {
    let log = log.clone();
    thread::spawn("resizes", move || {
        while held.wait().is_ok() {
            let mut size = terminal::size();
            loop {
                std::thread::sleep(REST);
                let now = terminal::size();
                if now == size {
                    break;
                }
                size = now;
            }
            log.add(size.columns);
            held.deliver();
        }
    })
    .map(drop)
}
