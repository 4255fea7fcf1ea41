//! Waking whoever watches a mailbox: a FIFO in the run directory, named as the mailbox.
//!
//! Whoever has stored a message opens the FIFO and writes a byte, unless nobody watches any mailbox; where nobody watches
//! this one there is none, or nobody has it open. A watcher that was killed leaves it behind, which harms nobody. (inotify(7) would do
//! without the help of the writer, but has 128 instances a user.)

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

/// How long a second watcher waits for the first, who may just be leaving.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// The FIFO, open and locked. Removed when it is dropped.
#[derive(Debug)]
pub(super) struct Fifo<'s> {
    dir: &'s Dir,
    name: Name,
    locked: Locked,
    _watching: Watching<'s>,
}

/// One who watches, as long as this lives.
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
    /// Opens the one of `name`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody else has it; those of the system.
    pub(super) fn open(spool: &'s Spool, name: &Name) -> Result<Self, StoreError> {
        let dir = &spool.paths.run()?.watch;
        let watching = Watching::begin(&spool.flags);
        let path = dir.path_of(name.as_str());
        let system = |e| StoreError::system("open", &path)(e);
        loop {
            let fifo = dir.fifo_or_new(name.as_str()).map_err(system)?;
            let locked = Locked::within(fifo, LOCK_TIMEOUT).map_err(system)?;
            let locked = locked.map_err(|_| StoreError::Busy)?;
            // The watcher before us may have removed it while we waited.
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
        // While it is locked. One that stays harms nobody.
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
        // It does not block: an error is that it is empty.
        while matches!(file.read(&mut bytes), Ok(n) if n == bytes.len()) {}
    }
}

/// Wakes whoever watches the mailbox of `name`.
pub(super) fn ring(spool: &Spool, name: &Name) {
    if let (true, Ok(run)) = (spool.flags.may_be_watched(), spool.paths.run()) {
        run.watch.poke(name.as_str());
    }
}
