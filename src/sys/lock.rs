//! Advisory locks: flock(2) on whole files, and never fcntl(2).
//!
//! A flock belongs to the open file description. It goes away with the last descriptor of it, however
//! its holder ended, so nothing stale is ever left to clean up. A descriptor that was inherited across
//! fork(2) shares the lock of its parent: whoever wants a lock of its own opens the file after the fork.

use std::fs::{File, TryLockError};
use std::io;
use std::time::Duration;

use crate::sys::clock::Deadline;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::process::Pid;

/// A file whose exclusive lock this process holds, until it is dropped (and closed with that).
#[derive(Debug)]
pub(crate) struct Locked(File);

impl Locked {
    /// Waits for the exclusive lock of `file`.
    ///
    /// # Errors
    /// Those of `flock(2)`; a signal does not end the wait.
    pub(crate) fn wait(file: File) -> io::Result<Self> {
        // HeldLock until the file is closed, and not until this function returns.
        std::mem::forget(HeldLock::wait(&file)?);
        Ok(Self(file))
    }

    /// Takes the exclusive lock of `file`, or gives the file back when somebody else has it.
    ///
    /// # Errors
    /// Those of `flock(2)`.
    pub(crate) fn attempt(file: File) -> io::Result<Result<Self, File>> {
        match file.try_lock() {
            Ok(()) => Ok(Ok(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(Err(file)),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// As [`attempt`](Self::attempt), again and again until `limit` is over: flock(2) knows no time-out.
    ///
    /// # Errors
    /// Those of `flock(2)`.
    pub(crate) fn within(mut file: File, limit: Duration) -> io::Result<Result<Self, File>> {
        let deadline = Deadline::after(limit);
        let mut pause = Duration::from_micros(200);
        loop {
            file = match Self::attempt(file)? {
                Ok(locked) => return Ok(Ok(locked)),
                Err(file) if deadline.passed() => return Ok(Err(file)),
                Err(file) => file,
            };
            std::thread::sleep(pause.min(deadline.left()));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// The locked file.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

/// The exclusive lock of a file that stays open, until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldLock<'f>(&'f File);

impl<'f> HeldLock<'f> {
    /// Waits for the exclusive lock of `file`.
    ///
    /// # Errors
    /// Those of `flock(2)`; a signal does not end the wait.
    pub(crate) fn wait(file: &'f File) -> io::Result<Self> {
        loop {
            match file.lock() {
                Ok(()) => return Ok(Self(file)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Drop for HeldLock<'_> {
    fn drop(&mut self) {
        // It fails only for a descriptor that is none, and closing the file unlocks it all the same.
        let _ = self.0.unlock();
    }
}

/// How long the children of a killed process may take to be gone.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A file that is locked by the one process that something belongs to, and holds its number.
#[derive(Debug)]
pub(crate) struct OwnerFile {
    _locked: Locked,
}

/// Whether an [`OwnerFile`] could be had.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It is ours until it is dropped, or the process ends.
    Ours(OwnerFile),
    /// Another process has it: its number, as that process wrote it.
    Theirs(String),
}

impl OwnerFile {
    /// Claims the file `name` in `dir` for this process, and writes its number into it. Waits a second for
    /// the children of an owner that was killed: they hold its lock until they are gone, too.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn claim(dir: &Dir, name: &str) -> io::Result<Claim> {
        loop {
            let file = dir.file_or_new(name)?;
            match Locked::within(file, LAST_WORDS)? {
                // Its last owner has removed it between our opening and locking it.
                Ok(locked) if !file::facts(locked.file())?.named => {}
                Ok(locked) => {
                    write_own_number(locked.file()).inspect_err(|_| {
                        // One without a number tells nobody anything.
                        let _ = dir.remove(name);
                    })?;
                    return Ok(Claim::Ours(Self { _locked: locked }));
                }
                Err(theirs) => return Ok(Claim::Theirs(number_in(&theirs)?)),
            }
        }
    }

    /// As [`claim`](Self::claim), but what is locked is the directory, and the file `name` in it says only
    /// by whom.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn claim_dir(dir: &Dir, name: &str) -> io::Result<Claim> {
        let claimed = Locked::within(dir.reopened()?, LAST_WORDS)?;
        let file = dir.file_or_new(name)?;
        match claimed {
            Ok(locked) => {
                write_own_number(&file)?;
                Ok(Claim::Ours(Self { _locked: locked }))
            }
            Err(_) => Ok(Claim::Theirs(number_in(&file)?)),
        }
    }
}

fn write_own_number(file: &File) -> io::Result<()> {
    let pid = format!("{}\n", Pid::own());
    file::truncate(file, 0)?;
    file::write_at(file, pid.as_bytes(), 0)
}

fn number_in(file: &File) -> io::Result<String> {
    let mut pid = [0; 16];
    let n = file::read_at(file, &mut pid, 0)?;
    let pid = String::from_utf8_lossy(&pid[..n]);
    Ok(pid.trim().escape_debug().to_string())
}
