//! The journal: where many processes' messages are durable together, before their mailboxes are.
//!
//! A wait for the disk costs about the same however much it is for. While several processes wait for it at once, each
//! for its own mailbox, the messages are written to the journal as well, by one process for all of them, in one write with
//! one wait ([`writer`]). They are in the mailboxes all the same, written and not yet synced: whoever reads one syncs it
//! first. What was in the journal is synced there later ([`settle`]), and after a power cut written there once more, before
//! anybody works on the spool ([`recover`]).
//!
//! Where there is no journal, or it is full, or anything is wrong with it, each syncs its own mailbox.

mod entry;
mod segments;
mod settle;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use self::entry::Entry;
use self::segments::{Log, SEGMENT};
use super::check;
use super::layout::Spool;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::dir::Dir;
use crate::sys::lock::Locked;
use crate::sys::submission_queue::{Completion, SubmissionQueue};

/// The name of its directory.
pub(super) const NAME: &str = "journal";
/// So many must wait for the disk, this process among them.
const CROWD: u32 = 3;
/// How long a process waits for the journal before it syncs by itself.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a start waits until the writer of a daemon that was killed is gone.
const WRITER_EXIT_TIMEOUT: Duration = Duration::from_secs(30);
/// The slot of a process that has none.
const NO_SLOT: usize = usize::MAX;

/// The journal of a spool, for those who append.
#[derive(Debug)]
pub(super) struct Journal {
    /// `None` in a spool that is only looked at, and has none.
    dir: Option<Dir>,
    path: PathBuf,
    queue: Option<SubmissionQueue>,
    /// The slot of this process in the queue.
    slot: AtomicUsize,
    /// Written by this process itself, one entry at once, so that a test sees what is written when.
    #[cfg(test)]
    alone: std::sync::Mutex<Option<Log>>,
}

/// A submission to the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Submitted {
    slot: usize,
    number: u32,
}

impl Journal {
    /// That of the spool with this root, for a process that does everything by itself so far.
    ///
    /// # Errors
    /// Those of `openat(2)`, but for ENOENT.
    pub(super) fn of(root: &Dir) -> Result<Self, StoreError> {
        let path = root.path_of(NAME);
        let dir = match root.sub(NAME) {
            Ok(dir) => Some(dir),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(StoreError::system("open", path)(e)),
        };
        Ok(Self {
            dir,
            path,
            queue: None,
            slot: AtomicUsize::new(NO_SLOT),
            #[cfg(test)]
            alone: std::sync::Mutex::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the queue of its writer: see [`Spool::write_journal`].
    ///
    /// # Errors
    /// Those of `mmap(2)`.
    pub(super) fn share(&mut self) -> io::Result<SubmissionQueue> {
        let queue = SubmissionQueue::new()?;
        self.queue = Some(queue);
        Ok(queue)
    }

    /// This process has a slot of its own from now on.
    pub(super) fn enter(&self, slot: usize) {
        self.slot.store(slot, Ordering::Relaxed);
    }

    fn slot(&self) -> Option<(SubmissionQueue, usize)> {
        let slot = self.slot.load(Ordering::Relaxed);
        self.queue
            .filter(|_| slot != NO_SLOT)
            .map(|queue| (queue, slot))
    }

    /// Notes whether this process waits for the disk.
    pub(super) fn set_waiting(&self, waiting: bool) {
        if let Some((queue, slot)) = self.slot() {
            queue.set_busy(slot, waiting);
        }
    }

    /// Submits `records`, which were written to the mailbox of `name` at `offset`, to be written to the journal as well.
    /// `None` when this process had better sync the mailbox.
    pub(super) fn submit(
        &self,
        name: &Name,
        epoch: u32,
        offset: u64,
        records: &[u8],
    ) -> Option<Submitted> {
        let entry = Entry {
            name: name.as_bytes(),
            epoch,
            offset,
            records,
        };
        #[cfg(test)]
        if let Some(submitted) = self.write_alone(&entry) {
            return submitted;
        }
        let (queue, slot) = self.slot()?;
        if !queue.is_open() || queue.busy() < CROWD {
            return None;
        }
        let number = queue.submit(slot, &[&entry.head(), entry.name, records])?;
        Some(Submitted { slot, number })
    }

    /// Waits until it is in the journal, on the disk; whether it is.
    pub(super) fn keeps(&self, submitted: Submitted) -> bool {
        #[cfg(test)]
        if submitted.slot == NO_SLOT {
            return true;
        }
        let Some(queue) = self.queue else {
            return false;
        };
        let completion = queue.wait(submitted.slot, submitted.number, COMPLETION_TIMEOUT);
        if completion == Completion::TimedOut {
            // So that no other process waits for the writer until it goes on.
            queue.pause();
        }
        completion == Completion::Done
    }

    /// That of the directory.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.dir.as_ref().map(|dir| dir.as_fd().as_raw_fd())
    }

    /// The directory, for those who write the journal, or settle it.
    pub(super) fn dir(&self) -> Result<&Dir, StoreError> {
        self.dir.as_ref().ok_or_else(|| StoreError::Spool {
            path: self.path.clone(),
            what: "there is no such directory".into(),
        })
    }

    /// From now on this process writes the journal by itself, or not any more; the segments are so long.
    #[cfg(test)]
    pub(super) fn set_alone(&self, len: Option<u64>) {
        let log = len.map(|len| Log::open(self.dir().expect("there"), len).expect("made"));
        *self.alone.lock().expect("locked") = log;
    }

    /// `None` when this process does not write by itself; `Some(None)` when there was no room.
    #[cfg(test)]
    fn write_alone(&self, entry: &Entry<'_>) -> Option<Option<Submitted>> {
        let mut alone = self.alone.lock().expect("locked");
        let log = alone.as_mut()?;
        let mut batch = segments::Batch::default();
        batch.push(&[&entry.head()[..], entry.name, entry.records].concat());
        let has_room =
            log.has_room(&batch) || (log.turn().expect("turned") && log.has_room(&batch));
        Some(has_room.then(|| {
            log.write(&mut batch).expect("written");
            Submitted {
                slot: NO_SLOT,
                number: 0,
            }
        }))
    }

    /// What the writer has another process do; whether there was something to do.
    #[cfg(test)]
    pub(super) fn empty_alone(&self, spool: &Spool) -> bool {
        let mut alone = self.alone.lock().expect("locked");
        let Some((log, full)) = alone
            .as_mut()
            .and_then(|log| log.full().map(|full| (log, full)))
        else {
            return false;
        };
        log.empty(spool, full, settle::Trust::Cached)
            .expect("emptied");
        log.emptied(full);
        true
    }

    fn open_log(&self) -> Result<Log, StoreError> {
        Log::open(self.dir()?, SEGMENT)
            .map_err(StoreError::system("make the journal in", &self.path))
    }
}

/// Writes the journal until it is asked to end.
///
/// # Errors
/// Those of the system.
pub(super) fn write(spool: &Spool, queue: SubmissionQueue) -> Result<(), StoreError> {
    writer::run(spool, queue)
}

/// The right to settle what is left in a journal: whoever looks at the spool meanwhile waits for that.
#[derive(Debug)]
pub(super) struct Settling {
    _lock: Locked,
}

impl Settling {
    /// Waits for it in the directory of the journal, for half a minute at most.
    ///
    /// # Errors
    /// Those of the system; that somebody else has it all the time.
    pub(super) fn begin(dir: &Dir) -> Result<Self, StoreError> {
        let path = dir.path().to_owned();
        let lock = dir
            .reopened()
            .and_then(|dir| Locked::within(dir, WRITER_EXIT_TIMEOUT))
            .map_err(StoreError::system("lock", &path))?;
        match lock {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err(_) => Err(StoreError::Spool {
                path,
                what: "another process brings what is in the journal to the mailboxes; try again later"
                    .into(),
            }),
        }
    }
}

/// Settles what a daemon that did not come to its end has left in the journal. Nobody else may work on the spool.
///
/// # Errors
/// Those of the system. Then it is all still there.
pub(super) fn recover(spool: &Spool, _right: &Settling) -> Result<(), StoreError> {
    let Some(dir) = &spool.journal.dir else {
        return Ok(());
    };
    let mut mended = BTreeSet::new();
    segments::each_left(dir, WRITER_EXIT_TIMEOUT, |segment, path| {
        let settled = settle::recover(spool, segment, path);
        mended.extend(settled.map_err(|e| explained(path, e))?);
        Ok(())
    })?;
    // Only now, as what is written anew takes nothing from the journal any more.
    mended
        .iter()
        .try_for_each(|name| check::close_gaps(spool, name))
}

/// What a full disk means here.
fn explained(path: &Path, e: StoreError) -> StoreError {
    match e {
        StoreError::DiskFull(_) => StoreError::InJournal {
            path: path.to_owned(),
            why: "the disk has no room to put them into their mailboxes; make room there",
        },
        e => e,
    }
}

/// Whether [`recover`] has something to do.
///
/// # Errors
/// Those of the system.
pub(super) fn is_left(spool: &Spool) -> Result<bool, StoreError> {
    let Some(dir) = &spool.journal.dir else {
        return Ok(false);
    };
    for name in segments::NAMES {
        let read = || match dir.file(name)? {
            Some(file) => segments::is_used(&file),
            None => Ok(false),
        };
        if read().map_err(StoreError::system("read", dir.path_of(name)))? {
            return Ok(true);
        }
    }
    Ok(false)
}
