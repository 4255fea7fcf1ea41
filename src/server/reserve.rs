//! What the master has only so much of: descriptors, and time to wait when the kernel refuses.

use std::fs::File;
use std::time::Duration;

use crate::sys::clock::Deadline;

/// How long the master stops accepting when the kernel has no descriptor, memory or process for it.
const PAUSE: Duration = Duration::from_millis(100);

/// Some descriptors that are kept open for nothing, so that a child, which gives them back first, can
/// open its files when the master has run out.
#[derive(Debug)]
pub(super) struct Reserve {
    _files: Vec<File>,
}

impl Reserve {
    const SIZE: usize = 5;

    /// Takes the descriptors. Fewer where there are not that many.
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
    /// Begins one.
    pub(super) fn begin(&mut self) {
        self.0 = Some(Deadline::after(PAUSE));
    }

    /// What is left of it; `None` when there is none.
    pub(super) fn left(&mut self) -> Option<Duration> {
        let left = self.0.map(Deadline::left).filter(|left| !left.is_zero());
        if left.is_none() {
            self.0 = None;
        }
        left
    }
}
