//! Waiting on a word of shared memory until another process wakes the waiter (futex(2)).

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::errno::Errno;

/// A point in monotonic time, in the format of futex(2).
pub(super) struct WakeTime(libc::timespec);

impl WakeTime {
    /// Returns the time `span` from now.
    pub(super) fn after(span: Duration) -> Self {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
        let end = Duration::from(now.unwrap_or(nix::sys::time::TimeSpec::new(0, 0))) + span;
        Self(*nix::sys::time::TimeSpec::from_duration(end).as_ref())
    }
}

/// Waits while `word` equals `value`, until a [`wake`] with one of `bits` or a signal. Returns `false` when `until` has
/// passed or the call fails.
pub(super) fn wait(word: &AtomicU32, value: u32, bits: u32, until: Option<&WakeTime>) -> bool {
    let until = until.map_or(std::ptr::null(), |until| &raw const until.0);
    // SAFETY: the word is never unmapped, and the time outlives the call. The kernel accesses no other memory.
    let waited = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET,
            value,
            until,
            std::ptr::null::<u32>(),
            bits,
        )
    };
    waited == 0 || matches!(Errno::last(), Errno::EAGAIN | Errno::EINTR)
}

/// Wakes all processes that wait on `word` with one of `bits`.
pub(super) fn wake(word: &AtomicU32, bits: u32) {
    // SAFETY: waking uses only the address of the word.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE_BITSET,
            i32::MAX,
            std::ptr::null::<libc::timespec>(),
            std::ptr::null::<u32>(),
            bits,
        )
    };
}
