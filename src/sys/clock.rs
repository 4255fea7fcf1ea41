//! Clocks, and deadlines: absolute points in time that traffic does not extend.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in monotonic time at which an operation times out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline `span` from now.
    pub(crate) fn after(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// Returns the time left; zero when the deadline has passed.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns whether the deadline has passed.
    pub(crate) fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// Returns a deadline that is later by this time.
    pub(crate) fn extended(self, by: Duration) -> Self {
        Self(self.0 + by)
    }
}

/// Returns the wall-clock time in milliseconds since 1970 (UTC); 0 if the clock is set to an earlier time.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time since boot in milliseconds, including the time spent suspended. This clock cannot be set.
pub(crate) fn boot_millis() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    // The call fails only for an unknown clock. Linux has had this one since 2.6.39.
    let since = now.map(Duration::from).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time of the monotonic clock in milliseconds, for comparison with that of other processes. It stands still
/// while the machine is suspended.
pub(crate) fn monotonic_millis() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    // The call fails only for an unknown clock.
    let since = now.map(Duration::from).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The file that identifies the current boot (proc_sys_kernel(5)).
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Returns a text that identifies the current boot of this machine, from [`BOOT_ID`].
pub(crate) fn boot_id() -> std::io::Result<String> {
    let id = std::fs::read_to_string(BOOT_ID)?;
    Ok(id.trim().to_owned())
}
