//! Telling the editor that the terminal has another size: once, when that has come to rest.
//!
//! While somebody drags the corner of a window, its size changes many times a second, and each time the line
//! would be drawn anew; a terminal that has become narrower keeps pieces of the old one.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::thread;
use crate::sys::signal::{Held, SIGWINCH};
use crate::sys::terminal;

/// How long a size must last.
const REST: Duration = Duration::from_millis(100);

/// What the editor has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// How many times it has been told something.
    pub(super) times: usize,
    /// How wide the terminal was the last time.
    pub(super) columns: usize,
}

/// What the editor has been told, for those who have to know what it knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<Mutex<News>>);

impl Told {
    fn state(&self) -> MutexGuard<'_, News> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last of it.
    pub(super) fn last(&self) -> News {
        *self.state()
    }

    fn add(&self, columns: usize) {
        let mut state = self.state();
        state.times += 1;
        state.columns = columns;
    }
}

/// From here on the editor is told of nothing, before [`hand_on`].
///
/// # Errors
/// Those of `pthread_sigmask(3)`: none that is known for this call.
pub(super) fn hold() -> io::Result<Held> {
    Held::new(SIGWINCH)
}

/// Tells the editor from now on, on a thread of its own.
///
/// # Errors
/// When there can be no thread.
pub(super) fn hand_on(held: Held, told: &Told) -> io::Result<()> {
    let told = told.clone();
    thread("resizes", move || {
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
            told.add(size.columns);
            held.deliver();
        }
    })
}
