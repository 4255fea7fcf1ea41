//! Pauses that grow while a process ends again soon after each start.

use std::time::Duration;

use crate::sys::clock::Deadline;

/// The shortest and the longest pause. A pause is twice as long as the previous one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// After a process that has run for this long, the pause is the shortest again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// When to start a process again.
#[derive(Debug)]
pub(super) struct Backoff {
    due: Deadline,
    /// When the present process has run for [`STABLE_AFTER`].
    stable: Deadline,
    next: Duration,
}

impl Backoff {
    /// Returns one whose process is due after `pause`.
    pub(super) fn after(pause: Duration) -> Self {
        let due = Deadline::after(pause);
        Self {
            due,
            stable: due,
            next: PAUSE.0,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.due.passed()
    }

    /// Returns the time until the process is due.
    pub(super) fn left(&self) -> Duration {
        self.due.left()
    }

    pub(super) fn has_started(&mut self) {
        self.stable = Deadline::after(STABLE_AFTER);
    }

    /// Begins a pause after the end of the process, and returns its length.
    pub(super) fn has_ended(&mut self) -> Duration {
        if self.stable.passed() {
            self.next = PAUSE.0;
        }
        self.pause()
    }

    /// Begins a pause after a start that has failed, and returns its length.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.due = Deadline::after(pause);
        self.next = PAUSE.1.min(2 * pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_process_has_run_for_long() {
        let mut backoff = Backoff::after(Duration::ZERO);
        assert!(backoff.is_due());
        let pauses: Vec<_> = (0..12)
            .map(|_| {
                backoff.has_started();
                backoff.has_ended().as_millis()
            })
            .collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[9..], [51_200, 60_000, 60_000]);
        assert!(!backoff.is_due() && backoff.left() > Duration::from_secs(50));
        backoff.stable = Deadline::after(Duration::ZERO);
        assert_eq!(backoff.has_ended(), PAUSE.0);
    }
}
