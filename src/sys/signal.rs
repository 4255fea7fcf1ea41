//! Signals as events that poll(2) can wait for.
//!
//! The handler of signal-hook sets a flag for each signal and writes a byte into a pipe. It is installed with
//! SA_RESTART and does not interrupt blocking calls, so a caller that must notice a signal polls the pipe as well.

use std::cell::OnceCell;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use nix::sys::signal::Signal;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use signal_hook::SigId;

pub(crate) use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGWINCH};

/// A guard that blocks all signals. Dropping it restores the previous mask.
#[derive(Debug)]
pub(crate) struct Blocked(SigSet);

impl Blocked {
    /// Blocks all signals that can be blocked. No error of pthread_sigmask(3) is known for this call.
    pub(crate) fn all() -> io::Result<Self> {
        let mut before = SigSet::empty();
        pthread_sigmask(
            SigmaskHow::SIG_SETMASK,
            Some(&SigSet::all()),
            Some(&mut before),
        )?;
        Ok(Self(before))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // This cannot fail: both arguments are valid by their types.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None);
    }
}

impl Blocked {
    /// Leaves all signals blocked permanently. Expected signals are read from an [`Inbox`].
    pub(crate) fn for_good(self) {
        std::mem::forget(self);
    }
}

/// Resets SIGCHLD to its default action. In a process that was started with SIGCHLD ignored, the kernel would reap the
/// children, and their exit status would be lost.
pub(crate) fn hear_of_children() {
    let usual = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of this process. The call cannot fail: SIGCHLD can be changed.
    let _ = unsafe { nix::sys::signal::sigaction(Signal::SIGCHLD, &usual) };
}

/// Unblocks all signals in the program that `command` starts, which would inherit the signal mask.
pub(crate) fn let_all_through(command: &mut Command) {
    let unblock = || Ok(SigSet::empty().thread_set_mask()?);
    // SAFETY: the closure runs between fork and exec. It makes one async-signal-safe call and touches no memory but its
    // own stack.
    unsafe { command.pre_exec(unblock) };
}

/// A blocked signal. The caller waits for it, and decides when its handlers run.
#[derive(Debug)]
pub(crate) struct Held(SigSet);

impl Held {
    /// Blocks the signal with this number in the calling thread and in the threads that it starts.
    ///
    /// # Errors
    /// EINVAL when there is no such signal.
    pub(crate) fn new(signal: i32) -> io::Result<Self> {
        let set = SigSet::from(Signal::try_from(signal)?);
        set.thread_block()?;
        Ok(Self(set))
    }

    /// Waits for the signal, and removes it from the pending signals (sigwait(3)).
    pub(crate) fn wait(&self) -> io::Result<()> {
        self.0.wait()?;
        Ok(())
    }

    /// Raises the signal. Its handlers run in the calling thread before this returns.
    pub(crate) fn deliver(&self) {
        // None of these calls fails for a valid signal.
        let _ = self.0.thread_unblock();
        for signal in &self.0 {
            let _ = nix::sys::signal::raise(signal);
        }
        let _ = self.0.thread_block();
    }
}

/// Signals that stay blocked and are read from a descriptor (signalfd(2)).
///
/// A child uses this because installing handlers takes more system calls than serving a request. The master uses it for
/// SIGCHLD, which arrives with each request: to run a handler, the kernel writes some 3 KiB onto the stack. The
/// descriptor is created on first use, which most children never reach. Until then signals stay pending.
#[derive(Debug)]
pub(crate) struct Inbox {
    signals: SigSet,
    descriptor: OnceCell<SignalFd>,
}

impl Inbox {
    /// Creates an inbox for `signals`, which must be blocked already.
    pub(crate) fn of(signals: &[Signal]) -> Self {
        Self {
            signals: signals.iter().copied().collect(),
            descriptor: OnceCell::new(),
        }
    }

    /// Blocks `signal`, which must have no handler and must not be ignored, and creates an inbox for it.
    pub(crate) fn taking(signal: Signal) -> io::Result<Self> {
        SigSet::from(signal).thread_block()?;
        let inbox = Self::of(&[signal]);
        inbox.fd()?;
        Ok(inbox)
    }

    /// Returns the descriptor to poll. It is readable when a signal has arrived.
    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(descriptor) = self.descriptor.get() {
            return Ok(descriptor.as_fd());
        }
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let descriptor = SignalFd::with_flags(&self.signals, flags)?;
        Ok(self.descriptor.get_or_init(|| descriptor).as_fd())
    }

    /// Returns whether a signal has arrived since the last call. Returns `false` until [`fd`](Self::fd) is called.
    pub(crate) fn came(&self) -> bool {
        self.take().iter().next().is_some()
    }

    /// Returns the signals that have arrived since the last call. None until [`fd`](Self::fd) is called.
    pub(crate) fn take(&self) -> SigSet {
        let mut came = SigSet::empty();
        while let Some(Ok(Some(info))) = self.descriptor.get().map(SignalFd::read_signal) {
            let number = i32::try_from(info.ssi_signo).unwrap_or_default();
            if let Ok(signal) = Signal::try_from(number) {
                came.add(signal);
            }
        }
        came
    }
}

/// A set of trapped signals, and the pipe that reports them.
#[derive(Debug)]
pub(crate) struct Trap {
    pipe: UnixStream,
    flags: Vec<(i32, Arc<AtomicBool>)>,
    ids: Vec<SigId>,
}

impl Trap {
    /// Traps `signals` from now on.
    ///
    /// # Errors
    /// When the pipe cannot be created, or a signal cannot be trapped.
    pub(crate) fn set(signals: &[i32]) -> io::Result<Self> {
        let (pipe, write_end) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        write_end.set_nonblocking(true)?;
        let mut trap = Self {
            pipe,
            flags: Vec::with_capacity(signals.len()),
            ids: Vec::with_capacity(2 * signals.len()),
        };
        for &signal in signals {
            let flag = Arc::new(AtomicBool::new(false));
            // Register the flag first: actions run in the order of their registration, so the flag is set
            // before the byte is in the pipe.
            trap.ids
                .push(signal_hook::flag::register(signal, Arc::clone(&flag))?);
            trap.ids.push(signal_hook::low_level::pipe::register(
                signal,
                write_end.try_clone()?,
            )?);
            trap.flags.push((signal, flag));
        }
        Ok(trap)
    }

    /// Returns the descriptor to poll. It is readable when a signal has arrived.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Empties the pipe. Must be called before the flags are checked, so that no signal is missed.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.pipe).read(&mut bytes), Ok(n) if n == bytes.len()) {}
    }

    /// Returns whether `signal` has arrived since the last call.
    pub(crate) fn came(&self, signal: i32) -> bool {
        self.flags
            .iter()
            .any(|(trapped, flag)| *trapped == signal && flag.swap(false, Ordering::SeqCst))
    }
}

impl Drop for Trap {
    /// Removes the actions. The handler stays installed: signal-hook installs it once per process.
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
