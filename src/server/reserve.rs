//! How the master copes with a shortage of resources: spare descriptors, and pauses in accepting.

use std::fs::File;
use std::time::Duration;

use crate::sys::clock::Deadline;

/// How long the master stops accepting when the kernel is out of descriptors, memory or processes.
const PAUSE: Duration = Duration::from_millis(100);

/// Spare descriptors. A child closes them first and can then open its files even when the master has run out.
#[derive(Debug)]
pub(super) struct Reserve {
    _files: Vec<File>,
}

impl Reserve {
    const SIZE: usize = 5;

    /// Opens the descriptors, or fewer if that many are not available.
    pub(super) fn take() -> Self {
        let open = (0..Self::SIZE).map_while(|_| File::open("/dev/null").ok());
        Self {
            _files: open.collect(),
        }
    }
}

/// A pause in accepting.
#[derive(Debug, Default)]
pub(super) struct Pause(Option<Deadline>);

impl Pause {
    pub(super) fn begin(&mut self) {
        self.0 = Some(Deadline::after(PAUSE));
    }

    /// Returns the time that is left; `None` when the pause is over.
    pub(super) fn left(&mut self) -> Option<Duration> {
        let left = self.0.map(Deadline::left).filter(|left| !left.is_zero());
        if left.is_none() {
            self.0 = None;
        }
        left
    }
}
