//! The progress of long commands.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// A progress line on standard error. It appears after a second, and only on a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    total: usize,
    done: usize,
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    const PAUSE: Duration = Duration::from_millis(200);

    /// Starts at 0 of `total`; 0 means that the total is unknown.
    pub(super) fn new(what: &'static str, total: usize) -> Self {
        let next = io::stderr()
            .is_terminal()
            .then(|| Instant::now() + Duration::from_secs(1));
        Self {
            what,
            total,
            done: 0,
            next,
            shown: false,
        }
    }

    /// Counts one more, and updates the line if it is due.
    pub(super) fn step(&mut self) {
        self.done += 1;
        if self.next.is_some_and(|next| Instant::now() >= next) {
            self.next = Some(Instant::now() + Self::PAUSE);
            self.shown = true;
            let Self {
                what, total, done, ..
            } = self;
            let text = if *total == 0 {
                format!("{done} {what}")
            } else {
                format!("{done} of {total} {what}")
            };
            // Ignore errors: the terminal may be gone.
            let _ = write!(io::stderr(), "\r{text}\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
