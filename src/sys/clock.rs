//! Deadlines: absolute points in time that no amount of traffic moves by itself.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in (monotonic) time by which something must have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// The deadline `span` from now.
    pub(crate) fn after(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// What is left of it; zero when it has passed.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub(crate) fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// The same deadline, moved into the future.
    pub(crate) fn extended(self, by: Duration) -> Self {
        Self(self.0 + by)
    }
}

/// The wall clock, in milliseconds since 1970 (UTC); 0 if the clock stands before that.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How long this machine runs, in milliseconds; the time it was asleep counts. Nobody can set this clock.
pub(crate) fn boot_millis() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    // It fails for a clock that there is none of, and this one is in every Linux since 2.6.39.
    let since = now.map(Duration::from).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Where the kernel says which start of the machine this is (proc_sys_kernel(5)).
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A text that is another one after each start of this machine.
///
/// # Errors
/// When /proc is not mounted.
pub(crate) fn boot_id() -> std::io::Result<String> {
    let id = std::fs::read_to_string(BOOT_ID)?;
    Ok(id.trim().to_owned())
}
