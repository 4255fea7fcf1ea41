//! Telling the editor that the terminal has another size: once, when that has come to rest.
//!
//! While somebody drags the corner of a window, its size changes many times a second, and each time the line
//! would be drawn anew; a terminal that has become narrower keeps pieces of the old one.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::thread;
use crate::sys::signal::{Held, SIGWINCH};
use crate::sys::terminal;

/// How long a size must last.
const REST: Duration = Duration::from_millis(100);

/// What the editor was told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::client::menu) struct Resize {
    /// How many times it has been told something.
    pub(in crate::client::menu) times: usize,
    /// How wide the terminal was the last time.
    pub(in crate::client::menu) columns: usize,
}

/// What the editor has been told, for those who have to know what it knows.
#[derive(Clone, Debug, Default)]
pub(in crate::client::menu) struct ResizeLog(Arc<Mutex<Resize>>);

impl ResizeLog {
    fn state(&self) -> MutexGuard<'_, Resize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last of it.
    pub(in crate::client::menu) fn last(&self) -> Resize {
        *self.state()
    }

    fn add(&self, columns: usize) {
        let mut state = self.state();
        state.times += 1;
        state.columns = columns;
    }
}

/// From here on the editor is told of nothing, before [`forward`].
///
/// # Errors
/// Those of `pthread_sigmask(3)`: none that is known for this call.
pub(in crate::client::menu) fn hold() -> io::Result<Held> {
    Held::new(SIGWINCH)
}

/// Tells the editor from now on, on a thread of its own.
///
/// # Errors
/// When there can be no thread.
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
