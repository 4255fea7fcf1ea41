//! Processes: fork, end, reap, and the tie between a master and its children.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::poll::{self, Want};

/// The number of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pid(libc::pid_t);

impl Pid {
    /// The calling process, asked of the kernel each time, so that it is right after a fork.
    pub(crate) fn own() -> Self {
        Self(nix::unistd::getpid().as_raw())
    }

    /// The number itself.
    pub(crate) fn number(self) -> u64 {
        u64::try_from(self.0).unwrap_or_default()
    }

    /// The parent of the calling process.
    pub(crate) fn parent() -> Self {
        Self(nix::unistd::getppid().as_raw())
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What [`fork`] returns in each of the two processes.
#[derive(Debug)]
pub(crate) enum Fork {
    /// In the process that called it: the number of the child.
    Parent(Pid),
    /// In the child.
    Child,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this exit status.
    Status(i32),
    /// By this signal. A plain number: real-time signals have no name.
    Signal(i32),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Signal(signal) => match Signal::try_from(*signal) {
                Ok(known) => write!(f, "killed by {known}"),
                Err(_) => write!(f, "killed by signal {signal}"),
            },
        }
    }
}

unsafe extern "C" {
    /// `fork()` without the handlers that libraries may have registered for it, of POSIX.1-2024 (glibc 2.34, musl
    /// 1.2.3): each of them writes to pages that are then copied.
    fn _Fork() -> libc::pid_t;
}

/// Forks the calling process, which must have only one thread (see [`threads`]).
///
/// Handlers of `pthread_atfork(3)` do not run: no library of ours registers any.
///
/// # Errors
/// Those of `fork(2)`: no process, no memory.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: there is only one thread, so no lock can be held by a thread that the child lacks, and
    // the child may do whatever its parent might have done.
    match unsafe { _Fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid(pid))),
    }
}

/// Gives back memory that this process has needed to start, and needs no more: the depths of its stack, and what is free
/// in the heap. Each fork notes all pages in use for the child once more, and the child's end takes them back.
///
/// Must be called while there is only one thread. Where it cannot be done, they stay.
#[inline(never)]
pub(crate) fn give_back_memory() {
    /// Below where the stack ends now, for what is called from here: at least so much, and two pages.
    const MARGIN: usize = 16 * 1024;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let Some(page) = page
        .ok()
        .flatten()
        .and_then(|page| usize::try_from(page).ok())
    else {
        return;
    };
    // A function of its own, whose frame is small: all that is in use lies above it.
    let here = 0_u8;
    let end = ((&raw const here).addr() - MARGIN.max(2 * page)) / page * page;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let stack = maps
        .lines()
        .find_map(|line| line.strip_suffix("[stack]")?.split_once('-'));
    let start = stack.and_then(|(start, _)| usize::from_str_radix(start, 16).ok());
    drop(maps);
    if let Some(start) = start.filter(|start| *start < end) {
        // SAFETY: from where the kernel says that the stack of this only thread begins to well below this frame, there
        // is nothing that anybody will read again. What grows into it later finds zeros.
        unsafe {
            libc::madvise(
                std::ptr::without_provenance_mut(start),
                end - start,
                libc::MADV_DONTNEED,
            )
        };
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: it changes nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Puts the calling process into a group of its own: what is typed at the terminal (Ctrl-C, Ctrl-Z) does not
/// signal it any more.
///
/// # Errors
/// Those of `setpgid(2)`: none that is known for a new child.
pub(crate) fn leave_group() -> io::Result<()> {
    let own = nix::unistd::Pid::from_raw(0);
    Ok(nix::unistd::setpgid(own, own)?)
}

/// Closes all descriptors of the calling process above standard error, but those in `keep`.
///
/// Whatever else owns one of them must not be used, or dropped, any more: this is for a child, which takes
/// over a few things of its parent and leaves by [`exit_now`].
pub(crate) fn close_all_but(keep: &mut [RawFd]) {
    keep.sort_unstable();
    let mut first = libc::STDERR_FILENO + 1;
    for &fd in keep.iter() {
        if fd > first {
            close_range(first, fd - 1);
        }
        first = first.max(fd + 1);
    }
    close_range(first, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: it touches no memory; that nobody uses these descriptors is the caller's promise.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 || first > last {
        return;
    }
    // A kernel before 5.9, or a sandbox around us that does not know it.
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

/// How many threads the calling process has.
///
/// # Errors
/// When /proc is not mounted or cannot be read.
pub(crate) fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Ends the calling process at once: no destructor runs, nothing buffered is written.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit touches no memory of ours.
    unsafe { libc::_exit(status) }
}

/// The next child that has ended, without waiting for one; `None` when there is none.
///
/// Not by nix: its `waitpid` fails for a child that a real-time signal killed, when that child is gone
/// already.
pub(crate) fn reap() -> Option<(Pid, End)> {
    let mut status = 0;
    // SAFETY: the pointer is to a live integer; WNOHANG makes the call return at once.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    if pid <= 0 {
        return None;
    }
    let end = if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Status(libc::WEXITSTATUS(status))
    };
    Some((Pid(pid), end))
}

/// Waits until the child `pid` has ended.
pub(crate) fn wait(pid: Pid) {
    // SAFETY: no status is asked for, so nothing is written.
    while unsafe { libc::waitpid(pid.0, std::ptr::null_mut(), 0) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Asks a child to finish what it has begun (SIGTERM). One that is gone already is no error.
pub(crate) fn ask_to_end(pid: Pid) {
    // SAFETY: kill(2) touches no memory; a child that was not reaped keeps its number.
    unsafe { libc::kill(pid.0, libc::SIGTERM) };
}

/// Ends a child at once (SIGKILL). One that is gone already is no error.
pub(crate) fn kill(pid: Pid) {
    // SAFETY: as for `ask_to_end`.
    unsafe { libc::kill(pid.0, libc::SIGKILL) };
}

/// How many descriptors the calling process may let itself have.
///
/// # Errors
/// Those of `getrlimit(2)`.
pub(crate) fn most_descriptors() -> io::Result<usize> {
    use nix::sys::resource::{Resource, getrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(hard).unwrap_or(usize::MAX))
}

/// A process, by a descriptor that stays the same process's (pidfd_open(2)).
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// The process that has this number now.
    ///
    /// # Errors
    /// Those of `pidfd_open(2)`: ESRCH when there is none; ENOSYS before Linux 5.3.
    pub(crate) fn of(number: u32) -> io::Result<Self> {
        // SAFETY: it touches no memory; what it returns is a new descriptor, or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
        let fd = RawFd::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Those of `pidfd_send_signal(2)`: ESRCH when it is gone.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        let none = std::ptr::null_mut::<libc::siginfo_t>();
        // SAFETY: a null pointer for what more there is to say about the signal is allowed.
        let done = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                none,
                0,
            )
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// What to poll for: readable when it has ended.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits until it has ended; `false` when it has not after this time.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        let ended = poll::wait(&[(self.0.as_fd(), Want::Read)], Some(time));
        ended.is_ok_and(|ready| ready.has(0))
    }
}

/// Limits what the calling process, and those that it forks, may use: `memory` bytes of address space, and
/// `descriptors`; it leaves no core file, and can fork no more (which does not hold for root).
///
/// # Errors
/// Those of `setrlimit(2)`.
pub(crate) fn limit(memory: u64, descriptors: u64) -> io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let limits = [
        (Resource::RLIMIT_AS, memory),
        (Resource::RLIMIT_NOFILE, descriptors),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NPROC, 0),
    ];
    for (resource, most) in limits {
        if setrlimit(resource, most, most).is_err() {
            // What is lower already stays so.
            let (_, hard) = getrlimit(resource)?;
            setrlimit(resource, most.min(hard), most.min(hard))?;
        }
    }
    Ok(())
}

/// Ties the program that `command` starts to the calling thread: when this ends, it is killed.
pub(crate) fn end_with_us(command: &mut Command) {
    let us = Pid::own();
    let tie = move || match end_with(us) {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    };
    // SAFETY: it runs between fork and exec, and makes two system calls that are allowed there; it touches no memory
    // but its own stack.
    unsafe { command.pre_exec(tie) };
}

/// Ties the calling child to its parent: when `parent` ends, in whatever way, this process is killed.
///
/// Returns whether the parent still lives: it may have ended before the call.
pub(crate) fn end_with(parent: Pid) -> bool {
    // SAFETY: this option takes an integer and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    Pid::parent() == parent
}
