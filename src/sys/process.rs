//! Processes: fork, exit, reaping, resource limits, and killing children when their parent ends.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::poll::{self, Want};

/// A process ID (PID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pid(libc::pid_t);

impl Pid {
    /// Returns the PID of the calling process. It is not cached, so it is correct after a fork.
    pub(crate) fn own() -> Self {
        Self(nix::unistd::getpid().as_raw())
    }

    /// Returns the PID with this number; `None` if there can be none.
    pub(crate) fn of(number: u64) -> Option<Self> {
        let number = libc::pid_t::try_from(number).ok()?;
        (number > 0).then_some(Self(number))
    }

    /// Returns a PID for a process that does not exist.
    #[cfg(test)]
    pub(crate) fn for_tests(number: i32) -> Self {
        Self(number)
    }

    /// Returns the PID as a number.
    pub(crate) fn number(self) -> u64 {
        u64::try_from(self.0).unwrap_or_default()
    }

    /// Returns the PID of the parent of the calling process.
    pub(crate) fn parent() -> Self {
        Self(nix::unistd::getppid().as_raw())
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The result of [`fork`] in each of the two processes.
#[derive(Debug)]
pub(crate) enum Fork {
    /// This process is the parent; the PID is the child's.
    Parent(Pid),
    /// This process is the child.
    Child,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited with this status.
    Status(i32),
    /// This signal killed it. A plain number, because real-time signals have no name.
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
    /// `fork()` without the handlers of pthread_atfork(3), which write to memory and so cause pages to be copied.
    /// Standardized in POSIX.1-2024 (glibc 2.34, musl 1.2.3).
    fn _Fork() -> libc::pid_t;
}

/// Forks the calling process, which must have only one thread (see [`threads`]).
///
/// Handlers of `pthread_atfork(3)` do not run: no library in use registers any.
///
/// # Errors
/// Those of `fork(2)`: EAGAIN at a limit on processes, ENOMEM.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: there is only one thread, so no lock can be held by a thread that the child lacks, and
    // the child may do everything that its parent may do.
    match unsafe { _Fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid(pid))),
    }
}

/// Releases memory that only startup needed: the unused part of the stack, and the free part of the heap. Each fork
/// copies the page table entries of all pages in use, and the exit of the child frees them again.
///
/// Must be called while there is only one thread. Best effort.
#[inline(never)]
pub(crate) fn give_back_memory() {
    /// The stack to keep below this frame for calls from here, in bytes; at least two pages are kept.
    const MARGIN: usize = 16 * 1024;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let Some(page) = page
        .ok()
        .flatten()
        .and_then(|page| usize::try_from(page).ok())
    else {
        return;
    };
    // This function is not inlined and its frame is small, so all of the stack in use is above the margin.
    let here = 0_u8;
    let end = ((&raw const here).addr() - MARGIN.max(2 * page)) / page * page;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let stack = maps
        .lines()
        .find_map(|line| line.strip_suffix("[stack]")?.split_once('-'));
    let start = stack.and_then(|(start, _)| usize::from_str_radix(start, 16).ok());
    drop(maps);
    if let Some(start) = start.filter(|start| *start < end) {
        // SAFETY: the range is part of the stack of the only thread, and ends well below this frame: no data in it is
        // live. When the stack grows into it again, the pages read as zeros.
        unsafe {
            libc::madvise(
                std::ptr::without_provenance_mut(start),
                end - start,
                libc::MADV_DONTNEED,
            )
        };
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) releases only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Moves the calling process to a new process group, so that Ctrl-C and Ctrl-Z at the terminal do not signal it.
pub(crate) fn leave_group() -> io::Result<()> {
    let own = nix::unistd::Pid::from_raw(0);
    Ok(nix::unistd::setpgid(own, own)?)
}

/// Closes all descriptors of the calling process above standard error, except those in `keep`.
///
/// Values that own a closed descriptor must not be used or dropped afterwards. This is for a child that keeps
/// a few descriptors of its parent and ends with [`exit_now`].
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
    // SAFETY: the call touches no memory. The caller promises that these descriptors are no longer used.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 || first > last {
        return;
    }
    // The kernel is older than 5.9, or a surrounding sandbox denies close_range(2).
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

/// Returns the number of threads of the calling process, from /proc.
pub(crate) fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Ends the calling process at once, without running destructors or flushing buffers.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) touches no memory.
    unsafe { libc::_exit(status) }
}

/// Reaps the next child that has ended, without waiting; returns `None` when there is none.
///
/// `waitpid` of nix cannot be used: it fails after it has reaped a child that was killed by a real-time signal.
pub(crate) fn reap() -> Option<(Pid, End)> {
    let mut status = 0;
    // SAFETY: the pointer is to a live integer.
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
    // SAFETY: a null pointer is allowed: no status is stored.
    while unsafe { libc::waitpid(pid.0, std::ptr::null_mut(), 0) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Asks a child to finish its work and exit (SIGTERM). A child that has already ended is not an error.
pub(crate) fn ask_to_end(pid: Pid) {
    // SAFETY: kill(2) touches no memory. The PID of a child is not reused before the child is reaped.
    unsafe { libc::kill(pid.0, libc::SIGTERM) };
}

/// Sends a signal to a child. A child that has already ended is not an error.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    // SAFETY: as for `ask_to_end`.
    unsafe { libc::kill(pid.0, signal as libc::c_int) };
}

/// Kills a child (SIGKILL). A child that has already ended is not an error.
pub(crate) fn kill(pid: Pid) {
    // SAFETY: as for `ask_to_end`.
    unsafe { libc::kill(pid.0, libc::SIGKILL) };
}

/// Kills a process and waits for its end, if it is a child of this process.
pub(crate) fn end_child(pid: Pid) {
    // SAFETY: a null pointer is allowed: no status is stored.
    let runs = unsafe { libc::waitpid(pid.0, std::ptr::null_mut(), libc::WNOHANG) } == 0;
    if runs {
        kill(pid);
        wait(pid);
    }
}

/// Makes this process the parent of the descendants whose parents end. Best effort: without it, init(1) is.
pub(crate) fn adopt_orphans() {
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Returns the hard limit on the descriptors of the calling process (getrlimit(2)).
pub(crate) fn most_descriptors() -> io::Result<usize> {
    use nix::sys::resource::{Resource, getrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(hard).unwrap_or(usize::MAX))
}

/// A descriptor that refers to a process (pidfd_open(2)). Unlike a PID, it never refers to another process later.
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// Opens the process that has this PID now.
    ///
    /// # Errors
    /// Those of `pidfd_open(2)`: ESRCH when there is none; ENOSYS before Linux 5.3.
    pub(crate) fn of(number: u32) -> io::Result<Self> {
        // SAFETY: the call touches no memory. It returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
        let fd = RawFd::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open and has no other owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// Those of `pidfd_send_signal(2)`: ESRCH when the process no longer exists.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        let none = std::ptr::null_mut::<libc::siginfo_t>();
        // SAFETY: the pointer to the signal information may be null.
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

    /// Returns the descriptor to poll. It is readable when the process has ended.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits up to `time` for the process to end, and returns whether it has. A signal ends the wait early.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        let ended = poll::wait(&[(self.0.as_fd(), Want::Read)], Some(time));
        ended.is_ok_and(|ready| ready.has(0))
    }
}

/// Limits the calling process and its future children to `memory` bytes of address space and `descriptors` open
/// descriptors (setrlimit(2)). Disables core files, and further forks unless the process runs as root.
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
            // The hard limit is already lower. Keep it.
            let (_, hard) = getrlimit(resource)?;
            setrlimit(resource, most.min(hard), most.min(hard))?;
        }
    }
    Ok(())
}

/// Makes the kernel kill the program started by `command` as soon as the calling thread ends.
pub(crate) fn end_with_us(command: &mut Command) {
    let us = Pid::own();
    let tie = move || match end_with(us) {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    };
    // SAFETY: the closure runs between fork and exec. It makes two system calls and uses no memory but its own stack.
    unsafe { command.pre_exec(tie) };
}

/// Makes the kernel kill the calling child when its `parent` ends in any way.
///
/// Returns whether the parent is still alive: it may have ended before the call.
pub(crate) fn end_with(parent: Pid) -> bool {
    // SAFETY: this option takes an integer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    Pid::parent() == parent
}
