//! Lookups with getent(1), which queries all sources of the machine, such as LDAP, sssd and systemd.
//!
//! The C library would load NSS modules into this process. Each fork would copy their mappings, and a statically
//! linked program cannot load them.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::files::Key;
use super::sources::Sources;
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Want};
use crate::sys::process::{self, PidFd};
use crate::sys::signal;

/// How long a getent process may run.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait for the end of a getent that was killed or has closed its output.
const AGAIN: Duration = Duration::from_secs(1);
/// How often to check whether getent has ended, on a kernel without pidfd_open(2).
const TICK: Duration = Duration::from_millis(50);
/// The longest output, in bytes.
const MOST: usize = 64 * 1024;
/// The longest name to look up, in bytes.
const LONGEST_NAME: usize = 256;
/// The exit status of getent for a key that was not found.
const NOT_THERE: i32 = 2;

/// The paths to search for getent. PATH is not used: the user controls it.
const PLACES: [&str; 2] = ["/usr/bin/getent", "/bin/getent"];

/// Where to look up logins that are not in /etc/passwd.
#[derive(Debug)]
pub(super) enum Directory {
    /// /etc/passwd has all logins.
    None,
    /// nsswitch.conf names more sources, and there is no getent to ask them.
    NoGetent,
    Getent(Getent),
}

/// A program that asks all sources of logins.
#[derive(Clone, Debug)]
pub(super) struct Getent {
    pub(super) program: PathBuf,
    /// The sources that can be away, in the syntax of nsswitch.conf(5). Empty if there is none.
    pub(super) remote: String,
}

impl Directory {
    /// Returns where this machine has logins besides those of /etc/passwd.
    pub(super) fn of_this_machine() -> Self {
        let sources = Sources::of_this_machine(&["passwd"]);
        match program() {
            _ if sources.are_files_alone() => Self::None,
            None => Self::NoGetent,
            Some(program) => Self::Getent(Getent {
                program,
                remote: sources.remote(),
            }),
        }
    }
}

/// Returns the path of getent if the machine has sources of groups besides /etc/group.
pub(super) fn for_groups() -> Option<PathBuf> {
    let sources = Sources::of_this_machine(&["initgroups", "group"]);
    program().filter(|_| !sources.are_files_alone())
}

fn program() -> Option<PathBuf> {
    let program = PLACES.iter().map(Path::new).find(|path| path.is_file());
    program.map(Path::to_owned)
}

impl Key<'_> {
    /// Returns the argument for getent; `None` for a name that getent would interpret as an ID or as something else.
    pub(super) fn argument(&self) -> Option<String> {
        match *self {
            Self::Uid(uid) => (uid != u32::MAX).then(|| uid.to_string()),
            Self::Name(name) => {
                let is_odd = |c: char| c.is_control() || c == ':';
                let is_name = !name.starts_with(|c: char| c.is_whitespace() || "+-#".contains(c))
                    && !name.bytes().all(|byte| byte.is_ascii_digit())
                    && name.len() <= LONGEST_NAME
                    && !name.contains(is_odd);
                is_name.then(|| name.to_owned())
            }
        }
    }
}

/// A running getent process.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Its descriptor, where the kernel supports pidfd_open(2).
    end: Option<PidFd>,
    deadline: Deadline,
}

impl Running {
    /// Starts a getent that writes its output to `to`. The kernel kills it when the calling thread ends.
    pub(super) fn start(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        to: OwnedFd,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(to)
            .stderr(Stdio::null());
        signal::let_all_through(&mut command);
        process::end_with_us(&mut command);
        let child = command.spawn()?;
        let end = PidFd::of(child.id()).ok();
        let deadline = Deadline::after(TIME_LIMIT);
        Ok(Self {
            child,
            end,
            deadline,
        })
    }

    /// Returns the status of a process that has ended; `None` while it runs. Kills it after its deadline.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let ended = self.child.try_wait()?;
        if ended.is_none() && self.deadline.passed() {
            // Do not wait: a process that is blocked in the kernel may end much later.
            let _ = self.child.kill();
            self.deadline = Deadline::after(AGAIN);
        }
        Ok(ended)
    }

    /// Returns the descriptor to poll, if any. It is readable when the process has ended.
    pub(super) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(PidFd::fd)
    }

    /// Returns the longest time to wait before the next call of [`ended`](Self::ended).
    pub(super) fn left(&self) -> Duration {
        let left = self.deadline.left();
        self.end.as_ref().map_or(left.min(TICK), |_| left)
    }

    /// Waits a short time for the end of a process that has closed its output.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        self.deadline = self.deadline.min(Deadline::after(AGAIN));
        let last = self.deadline.extended(AGAIN);
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if last.passed() {
                return Err(late());
            }
            let fds: Vec<_> = self
                .end()
                .map(|end| (end, Want::Read))
                .into_iter()
                .collect();
            poll::wait(&fds, Some(self.left()))?;
        }
    }
}

/// Runs getent and returns its output, which is empty when the key is not found.
///
/// # Errors
/// When getent cannot be started, fails or times out, or [`answer`] fails.
pub(super) fn ask(program: &Path, database: &str, argument: &str) -> io::Result<Vec<u8>> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut running = Running::start(program, &[database, "--", argument], theirs.into())?;
    let answer = answer(&ours, running.deadline);
    if answer.is_err() {
        let _ = running.child.kill();
    }
    let status = running.wait();
    let answer = answer?;
    match status? {
        status if status.success() => Ok(answer),
        status if status.code() == Some(NOT_THERE) => Ok(Vec::new()),
        status => {
            let what = format!("{} ended with {status}", program.display());
            Err(io::Error::other(what))
        }
    }
}

/// Reads the output of getent from `from` until end of stream.
///
/// # Errors
/// When the stream does not end by `deadline`, is too long, or ends within a line.
pub(super) fn answer(mut from: &UnixStream, deadline: Deadline) -> io::Result<Vec<u8>> {
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    loop {
        if !poll::readable_by(from.as_fd(), deadline)? {
            return Err(late());
        }
        match from.read(&mut part)? {
            0 if answer.last().is_some_and(|last| *last != b'\n') => {
                let what = "the answer of getent ends in the middle of a line";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
            0 => return Ok(answer),
            n => answer.extend_from_slice(part.get(..n).unwrap_or_default()),
        }
        if answer.len() > MOST {
            let what = format!("the answer of getent is longer than {MOST} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
    }
}

pub(super) fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "getent does not answer in time")
}
