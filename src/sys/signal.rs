//! Signals, as something that poll(2) can wait for.
//!
//! signal-hook's handler sets a flag a signal and writes a byte into a pipe; the handlers have
//! SA_RESTART, so whoever wants to notice a signal waits for the pipe as well.

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

/// All signals blocked, until this is dropped; then the mask is what it was.
#[derive(Debug)]
pub(crate) struct Blocked(SigSet);

impl Blocked {
    /// Blocks all signals that can be blocked.
    ///
    /// # Errors
    /// Those of `pthread_sigmask(3)`: none that is known for this call.
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
        // It cannot fail: both arguments are valid by their types, and there is nobody to tell.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None);
    }
}

impl Blocked {
    /// Leaves all signals blocked for good. Those that are waited for come through an [`Inbox`].
    pub(crate) fn for_good(self) {
        std::mem::forget(self);
    }
}

/// Lets this process hear of the ends of its children, also where whoever started it had them ignored: then the kernel
/// takes them in by itself, and nobody knows how they ended.
pub(crate) fn hear_of_children() {
    let usual = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: what the system does by itself is no code of ours. It cannot fail: the signal can be changed.
    let _ = unsafe { nix::sys::signal::sigaction(Signal::SIGCHLD, &usual) };
}

/// Lets all signals through to the program that `command` starts: what is blocked here would stay blocked there.
pub(crate) fn let_all_through(command: &mut Command) {
    let unblock = || Ok(SigSet::empty().thread_set_mask()?);
    // SAFETY: it runs between fork and exec, and makes one system call that is allowed there; it touches no memory
    // but its own stack.
    unsafe { command.pre_exec(unblock) };
}

/// A signal that comes to nobody: it is waited for, and handed on when the time has come.
#[derive(Debug)]
pub(crate) struct Held(SigSet);

impl Held {
    /// Blocks the signal of this number, in the calling thread and those that it starts.
    ///
    /// # Errors
    /// EINVAL for what is no signal.
    pub(crate) fn new(signal: i32) -> io::Result<Self> {
        let set = SigSet::from(Signal::try_from(signal)?);
        set.thread_block()?;
        Ok(Self(set))
    }

    /// Waits for the signal, and takes it.
    ///
    /// # Errors
    /// Those of `sigwait(3)`: none that is known for such a signal.
    pub(crate) fn wait(&self) -> io::Result<()> {
        self.0.wait()?;
        Ok(())
    }

    /// Hands one on to its handlers, which run in the calling thread before this returns.
    pub(crate) fn deliver(&self) {
        // None of these calls fails for a signal that there is.
        let _ = self.0.thread_unblock();
        for signal in &self.0 {
            let _ = nix::sys::signal::raise(signal);
        }
        let _ = self.0.thread_block();
    }
}

/// Signals that stay blocked and are read from a descriptor (signalfd(2)): what a child has in place of
/// handlers, which cost more system calls than the request that it serves; and its master for the ends of children, which
/// come with each request: to run a handler the kernel writes some 3 KiB onto the stack.
///
/// The descriptor is made when it is asked for: signals that have come before wait, as they are blocked, and most
/// children never look.
#[derive(Debug)]
pub(crate) struct Inbox {
    signals: SigSet,
    descriptor: OnceCell<SignalFd>,
}

impl Inbox {
    /// Signals of these kinds, which must be blocked, are read here from now on.
    pub(crate) fn of(signals: &[Signal]) -> Self {
        Self {
            signals: signals.iter().copied().collect(),
            descriptor: OnceCell::new(),
        }
    }

    /// Signals of this kind, which have no handler and are not ignored, are blocked from now on, and read here.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub(crate) fn taking(signal: Signal) -> io::Result<Self> {
        SigSet::from(signal).thread_block()?;
        let inbox = Self::of(&[signal]);
        inbox.fd()?;
        Ok(inbox)
    }

    /// What to poll for: readable when a signal has come.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(descriptor) = self.descriptor.get() {
            return Ok(descriptor.as_fd());
        }
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let descriptor = SignalFd::with_flags(&self.signals, flags)?;
        Ok(self.descriptor.get_or_init(|| descriptor).as_fd())
    }

    /// Whether one has come since the last time this was asked, or since [`fd`](Self::fd) was called first.
    pub(crate) fn came(&self) -> bool {
        let mut came = false;
        while let Some(Ok(Some(_))) = self.descriptor.get().map(SignalFd::read_signal) {
            came = true;
        }
        came
    }
}

/// A set of trapped signals and the pipe that tells of them.
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
    /// When no pipe can be had, or a signal cannot be trapped.
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
            // The flag first: actions run in the order of their registration, so the flag is set
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

    /// What to poll for: readable when a signal has come.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Empties the pipe. To be called before the flags are looked at, so that no signal is missed.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.pipe).read(&mut bytes), Ok(n) if n == bytes.len()) {}
    }

    /// Whether `signal` has come since the last time this was asked.
    pub(crate) fn came(&self, signal: i32) -> bool {
        self.flags
            .iter()
            .any(|(trapped, flag)| *trapped == signal && flag.swap(false, Ordering::SeqCst))
    }
}

impl Drop for Trap {
    /// The handler stays installed and does nothing: signal-hook installs it once a process.
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
