//! getent(1), which answers from wherever the machine keeps logins: LDAP, sssd, systemd.
//!
//! The C library would load what it needs for that into this process: each fork would copy it, and a program that
//! is linked statically cannot.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::files::Key;
use crate::sys::clock::Deadline;
use crate::sys::file;
use crate::sys::poll::{self, Want};
use crate::sys::process::{self, PidFd};
use crate::sys::signal;

/// How long one may run.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// One that was killed is looked at again after that.
const AGAIN: Duration = Duration::from_secs(1);
/// Where the kernel cannot tell of the end of a process, it is looked for as often.
const TICK: Duration = Duration::from_millis(50);
/// The longest answer.
const MOST: usize = 64 * 1024;
/// The longest name that is asked for.
const LONGEST_NAME: usize = 256;
/// The exit status of one that has not found anything.
const NOT_THERE: i32 = 2;

/// Where it can be; not the caller's PATH, which anybody may set.
const PLACES: [&str; 2] = ["/usr/bin/getent", "/bin/getent"];
/// Where it is said which sources the machine asks; the second is that of some systems without an own /etc.
const SOURCES: [&str; 2] = ["/etc/nsswitch.conf", "/usr/etc/nsswitch.conf"];
/// The longest of these files.
const LONGEST_SOURCES: usize = 64 * 1024;

/// The program, where it knows more logins than /etc/passwd.
pub(super) fn for_logins() -> Option<PathBuf> {
    program(&["passwd"])
}

/// The program, where it knows more groups than /etc/group.
pub(super) fn for_groups() -> Option<PathBuf> {
    program(&["initgroups", "group"])
}

fn program(databases: &[&str]) -> Option<PathBuf> {
    let read =
        |path: &&str| match file::read_small(Path::new(path), LONGEST_SOURCES, Duration::ZERO) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            // What cannot be read may say anything.
            text => Some(text.unwrap_or_default()),
        };
    let sources = SOURCES.iter().find_map(read)?;
    if is_files_alone(&sources, databases) {
        return None;
    }
    let program = PLACES.iter().map(Path::new).find(|path| path.is_file());
    program.map(Path::to_owned)
}

/// Whether nsswitch.conf(5) names files, and nothing else, for the first of these databases that it has.
pub(super) fn is_files_alone(sources: &str, databases: &[&str]) -> bool {
    let lines = || sources.lines().map(|line| line.split('#').next());
    let of = |database: &&str| {
        let mut named = lines().filter_map(|line| line?.split_once(':'));
        named.find_map(|(name, sources)| (name.trim() == *database).then_some(sources))
    };
    databases.iter().find_map(of).is_some_and(|sources| {
        let mut words = sources.split_whitespace();
        // `[NOTFOUND=return]` and the like only say when to stop.
        words.all(|word| word == "files" || (word.starts_with('[') && word.ends_with(']')))
    })
}

impl Key<'_> {
    /// What getent is asked, if it can be: what it would take for a number, or for something else, is no name.
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

/// One that runs.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Tells of its end, where the kernel can.
    end: Option<PidFd>,
    deadline: Deadline,
}

impl Running {
    /// Starts one whose answer goes to `to`. It ends with the calling thread.
    ///
    /// # Errors
    /// Those of `fork(2)` and `execve(2)`.
    pub(super) fn start(
        program: &Path,
        database: &str,
        argument: &str,
        to: OwnedFd,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command
            .args([database, "--", argument])
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

    /// How it has ended; `None` while it runs. When its time is over it is killed.
    ///
    /// # Errors
    /// Those of `waitpid(2)`.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let ended = self.child.try_wait()?;
        if ended.is_none() && self.deadline.passed() {
            // Not waited for: it may be in the kernel, which lets it end later.
            let _ = self.child.kill();
            self.deadline = Deadline::after(AGAIN);
        }
        Ok(ended)
    }

    /// What to poll for: readable when it has ended.
    pub(super) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(PidFd::fd)
    }

    /// When to look at it again, at the latest.
    pub(super) fn left(&self) -> Duration {
        let left = self.deadline.left();
        self.end.as_ref().map_or(left.min(TICK), |_| left)
    }

    /// Waits for its end. One that has nothing more to say has little time for that.
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

/// What it answers; nothing, when there is nothing to be found.
///
/// # Errors
/// When it cannot be started, or does not answer as it should, or not in time.
pub(super) fn ask(program: &Path, database: &str, argument: &str) -> io::Result<Vec<u8>> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut running = Running::start(program, database, argument, theirs.into())?;
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

/// All that is said to `from`, until nobody can say more.
///
/// # Errors
/// When that is not so by `deadline`, or what is said is too much, or ends within a line.
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
