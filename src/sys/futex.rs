//! Waiting at a word of shared memory until another process wakes the waiter (futex(2)).

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::errno::Errno;

/// A point in monotonic time, as futex(2) takes it.
pub(super) struct WakeTime(libc::timespec);

impl WakeTime {
    /// The time `span` from now.
    pub(super) fn after(span: Duration) -> Self {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
        let end = Duration::from(now.unwrap_or(nix::sys::time::TimeSpec::new(0, 0))) + span;
        Self(*nix::sys::time::TimeSpec::from_duration(end).as_ref())
    }
}

/// Waits while `word` is `value`, until one of `bits` is woken, or a signal comes; `false` after `until`, or when the
/// kernel cannot wait.
pub(super) fn wait(word: &AtomicU32, value: u32, bits: u32, until: Option<&WakeTime>) -> bool {
    let until = until.map_or(std::ptr::null(), |until| &raw const until.0);
    // SAFETY: the word is mapped for good, and the time lives as long as the call; it touches no other memory.
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

/// Wakes all that wait at `word` with one of `bits`.
pub(super) fn wake(word: &AtomicU32, bits: u32) {
    // SAFETY: the word is mapped for good, and waking touches no memory.
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
