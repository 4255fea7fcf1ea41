//! Sleeping on a word of shared memory until somebody rings (futex(2)).

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::errno::Errno;

/// A time by the clock that nobody sets, as futex(2) takes it: what is waited for often needs no clock to be read.
pub(super) struct Until(libc::timespec);

impl Until {
    /// `span` from now.
    pub(super) fn after(span: Duration) -> Self {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
        let end = Duration::from(now.unwrap_or(nix::sys::time::TimeSpec::new(0, 0))) + span;
        Self(*nix::sys::time::TimeSpec::from_duration(end).as_ref())
    }
}

/// Sleeps on `word` while it is `value`, until one of `bits` is rung, or a signal comes; `false` when it is later than
/// `until`, or sleeping is not possible.
pub(super) fn sleep(word: &AtomicU32, value: u32, bits: u32, until: Option<&Until>) -> bool {
    let until = until.map_or(std::ptr::null(), |until| &raw const until.0);
    // SAFETY: the word is mapped for good, and the time lives as long as the call; it touches no other memory.
    let slept = unsafe {
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
    slept == 0 || matches!(Errno::last(), Errno::EAGAIN | Errno::EINTR)
}

/// Wakes all that sleep on `word` with one of `bits`.
pub(super) fn ring(word: &AtomicU32, bits: u32) {
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
