//! Wakes the process that watches a mailbox, through a FIFO in the run directory with the name of the mailbox.
//!
//! A process that has stored a message writes a byte to the FIFO. It skips this if no process watches any mailbox, and
//! open(2) fails with ENOENT or ENXIO if no process watches this one. A killed watcher leaves its FIFO behind, which is
//! harmless. (inotify(7) would need no write, but allows only 128 instances per user.)

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use super::flags::Flags;
use super::handle::Spool;
use crate::name::Name;
use crate::store::{Bell, StoreError};
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::Locked;

/// How long a new watcher waits for the lock of the previous one, which may be about to exit.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// An open and locked FIFO. Dropping it removes the FIFO.
#[derive(Debug)]
pub(super) struct Fifo<'s> {
    dir: &'s Dir,
    name: Name,
    locked: Locked,
    _watching: Watching<'s>,
}

/// Counts as a watcher in the shared flags until it is dropped.
#[derive(Debug)]
struct Watching<'s>(&'s Flags);

impl<'s> Watching<'s> {
    fn begin(flags: &'s Flags) -> Self {
        flags.note_watcher(true);
        Self(flags)
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.note_watcher(false);
    }
}

impl<'s> Fifo<'s> {
    /// Opens and locks the FIFO of mailbox `name`, creating it if missing.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another process watches the mailbox; I/O errors.
    pub(super) fn open(spool: &'s Spool, name: &Name) -> Result<Self, StoreError> {
        let dir = &spool.paths.run()?.watch;
        let watching = Watching::begin(&spool.flags);
        let path = dir.path_of(name.as_str());
        let system = |e| StoreError::system("open", &path)(e);
        loop {
            let fifo = dir.fifo_or_new(name.as_str()).map_err(system)?;
            let locked = Locked::within(fifo, LOCK_TIMEOUT).map_err(system)?;
            let locked = locked.map_err(|_| StoreError::Busy)?;
            // The previous watcher may have removed the FIFO while this one waited for the lock.
            if file::facts(locked.file()).map_err(system)?.named {
                let name = name.clone();
                return Ok(Self {
                    dir,
                    name,
                    locked,
                    _watching: watching,
                });
            }
        }
    }
}

impl Drop for Fifo<'_> {
    fn drop(&mut self) {
        // The lock is still held, so this cannot remove the FIFO of another watcher. A leftover FIFO is harmless.
        let _ = self.dir.remove(self.name.as_str());
    }
}

impl Bell for Fifo<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        self.locked.file().as_fd()
    }

    fn silence(&self) {
        let mut file: &File = self.locked.file();
        let mut bytes = [0; 512];
        // The FIFO is non-blocking: an error means that it is empty.
        while matches!(file.read(&mut bytes), Ok(n) if n == bytes.len()) {}
    }
}

/// Wakes the process that watches the mailbox of `name`, if any.
pub(super) fn ring(spool: &Spool, name: &Name) {
    if let (true, Ok(run)) = (spool.flags.may_be_watched(), spool.paths.run()) {
        run.watch.poke(name.as_str());
    }
}
