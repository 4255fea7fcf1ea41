//! Advisory locks on whole files with flock(2), never with fcntl(2).
//!
//! A flock belongs to the open file description. The kernel releases it with the last descriptor, however the
//! holder ended, so stale locks cannot occur. A descriptor inherited across fork(2) shares the lock of the
//! parent: a child that needs its own lock must open the file after the fork.

use std::fs::{File, TryLockError};
use std::io;
use std::time::Duration;

use crate::sys::clock::Deadline;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::process::Pid;

/// The pauses between two attempts to take a lock.
const SHORTEST_PAUSE: Duration = Duration::from_micros(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// An open file whose exclusive lock this process holds. Dropping it closes the file, which releases the lock.
#[derive(Debug)]
pub(crate) struct Locked(File);

impl Locked {
    /// Waits for the exclusive lock of `file` (flock(2)), however long. A signal does not end the wait.
    pub(crate) fn wait(file: File) -> io::Result<Self> {
        // Forget the guard, which would release the lock here. Closing the file releases it later.
        std::mem::forget(HeldLock::wait(&file)?);
        Ok(Self(file))
    }

    /// Takes the exclusive lock of `file` without waiting (flock(2)). Returns the file if the lock is already held.
    pub(crate) fn attempt(file: File) -> io::Result<Result<Self, File>> {
        match file.try_lock() {
            Ok(()) => Ok(Ok(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(Err(file)),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// Like [`attempt`](Self::attempt), but retries until `limit` has passed: flock(2) has no timeout.
    pub(crate) fn within(file: File, limit: Duration) -> io::Result<Result<Self, File>> {
        // Forget the guard, which would release the lock here. Closing the file releases it later.
        let held = HeldLock::within(&file, limit)?.map(std::mem::forget);
        Ok(match held {
            Some(()) => Ok(Self(file)),
            None => Err(file),
        })
    }

    /// Returns the locked file.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

/// The exclusive lock of a borrowed file. Dropping it releases the lock; the file stays open.
#[derive(Debug)]
pub(crate) struct HeldLock<'f>(&'f File);

impl<'f> HeldLock<'f> {
    /// Waits for the exclusive lock of `file` (flock(2)), however long. A signal does not end the wait.
    pub(crate) fn wait(file: &'f File) -> io::Result<Self> {
        loop {
            match file.lock() {
                Ok(()) => return Ok(Self(file)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes the exclusive lock of `file` without waiting (flock(2)); `None` if it is already held.
    pub(crate) fn attempt(file: &'f File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// Like [`attempt`](Self::attempt), but retries until `limit` has passed: flock(2) has no timeout. A free lock takes
    /// one system call.
    pub(crate) fn within(file: &'f File, limit: Duration) -> io::Result<Option<Self>> {
        let first = Self::attempt(file)?;
        if first.is_some() {
            return Ok(first);
        }
        let deadline = Deadline::after(limit);
        loop {
            let left = deadline.left();
            // In proportion to the time waited, so that a lock held for microseconds is taken soon after its release.
            let pause = ((limit - left.min(limit)) / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            std::thread::sleep(pause.min(left));
            let next = Self::attempt(file)?;
            if next.is_some() || deadline.passed() {
                return Ok(next);
            }
        }
    }
}

impl Drop for HeldLock<'_> {
    fn drop(&mut self) {
        // This fails only for an invalid descriptor, and closing the file releases the lock as well.
        let _ = self.0.unlock();
    }
}

/// How long to wait for the children of a killed owner to exit.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(1);

/// A file that is locked by the owner of a resource and contains the owner's PID.
#[derive(Debug)]
pub(crate) struct OwnerFile {
    _locked: Locked,
}

/// The result of claiming an [`OwnerFile`].
#[derive(Debug)]
pub(crate) enum Claim {
    /// This process owns the file until it drops this value or ends.
    Ours(OwnerFile),
    /// Another process owns the file. The text is the PID that it wrote.
    Theirs(String),
}

impl OwnerFile {
    /// Claims the file `name` in `dir` for this process, and writes its PID into it. Waits up to a second for
    /// the children of a killed owner, which share its lock until they exit.
    pub(crate) fn claim(dir: &Dir, name: &str) -> io::Result<Claim> {
        loop {
            let file = dir.file_or_new(name)?;
            match Locked::within(file, ORPHAN_TIMEOUT)? {
                // The last owner removed the file after it was opened here and before it was locked. Retry.
                Ok(locked) if !file::facts(locked.file())?.named => {}
                Ok(locked) => {
                    write_own_number(locked.file()).inspect_err(|_| {
                        // A file without a PID does not identify its owner.
                        let _ = dir.remove(name);
                    })?;
                    return Ok(Claim::Ours(Self { _locked: locked }));
                }
                Err(theirs) => return Ok(Claim::Theirs(number_in(&theirs)?)),
            }
        }
    }

    /// Returns the PID of the process that owns `file`; `None` when no process does. Changes nothing. Waits like
    /// [`claim`](Self::claim).
    pub(crate) fn holder(file: File) -> io::Result<Option<String>> {
        match Locked::within(file, ORPHAN_TIMEOUT)? {
            Ok(_) => Ok(None),
            Err(theirs) => Ok(Some(number_in(&theirs)?)),
        }
    }

    /// Like [`claim`](Self::claim), but locks the directory. The file `name` in it only contains the owner's PID.
    pub(crate) fn claim_dir(dir: &Dir, name: &str) -> io::Result<Claim> {
        let claimed = Locked::within(dir.reopened()?, ORPHAN_TIMEOUT)?;
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
