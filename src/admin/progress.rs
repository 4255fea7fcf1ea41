//! How far a long command is, on a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// A line on standard error that tells how far it is, once it takes longer than a second, and only where
/// standard error is a terminal.
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

    /// Nothing of `total` is done.
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

    /// One more is done.
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
            // A terminal that is gone needs no progress.
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
