//! The journal, for a process that appends: it submits what it has written to a mailbox, and waits until the journal is
//! on the disk.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::entry::JournalEntry;
#[cfg(test)]
use super::segments::{JournalBatch, JournalLog};
use crate::name::Name;
use crate::store::StoreError;
use crate::store::spool::paths::JOURNAL;
use crate::sys::dir::Dir;
use crate::sys::submission_queue::{Completion, SubmissionQueue};

/// How many processes must wait for the disk, this one among them, before the journal is used.
const CROWD: u32 = 3;
/// How long a process waits for the journal before it syncs by itself.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(5);
/// The slot of a process that has none.
const NO_SLOT: usize = usize::MAX;

/// The journal of a spool, for those who append.
#[derive(Debug)]
pub(in crate::store::spool) struct Journal {
    /// `None` in a spool that is only looked at, and has none.
    dir: Option<Dir>,
    path: PathBuf,
    queue: Option<SubmissionQueue>,
    /// That of this process.
    slot: AtomicUsize,
    /// Written by this process itself, an entry at a time: a test sees what is written when.
    #[cfg(test)]
    own_log: std::sync::Mutex<Option<JournalLog>>,
}

/// What was given to the writer of the journal.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::spool) struct JournalSubmission {
    slot: usize,
    number: u32,
}

impl Journal {
    /// The journal of the spool in `root`, without a writer so far.
    ///
    /// # Errors
    /// Those of `openat(2)`, but for ENOENT.
    pub(in crate::store::spool) fn open(root: &Dir) -> Result<Self, StoreError> {
        let path = root.path_of(JOURNAL);
        let dir = match root.sub(JOURNAL) {
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
            own_log: std::sync::Mutex::default(),
        })
    }

    pub(in crate::store::spool) fn path(&self) -> &Path {
        &self.path
    }

    /// Maps the memory through which entries are submitted, for all processes that are forked from this one.
    ///
    /// # Errors
    /// Those of `mmap(2)`.
    pub(in crate::store::spool) fn share(&mut self) -> io::Result<SubmissionQueue> {
        let queue = SubmissionQueue::new()?;
        self.queue = Some(queue);
        Ok(queue)
    }

    /// Gives this process a slot of its own in the queue.
    pub(in crate::store::spool) fn set_slot(&self, slot: usize) {
        self.slot.store(slot, Ordering::Relaxed);
    }

    fn slot(&self) -> Option<(SubmissionQueue, usize)> {
        let slot = self.slot.load(Ordering::Relaxed);
        self.queue
            .filter(|_| slot != NO_SLOT)
            .map(|queue| (queue, slot))
    }

    /// Notes whether this process waits for the disk.
    pub(in crate::store::spool) fn set_waiting(&self, waiting: bool) {
        if let Some((queue, slot)) = self.slot() {
            queue.set_busy(slot, waiting);
        }
    }

    /// Submits `records`, which were written to the mailbox of `name` at `offset`. `None` when this process has to sync the
    /// mailbox.
    pub(in crate::store::spool) fn submit(
        &self,
        name: &Name,
        epoch: u32,
        offset: u64,
        records: &[u8],
    ) -> Option<JournalSubmission> {
        let entry = JournalEntry {
            name: name.as_bytes(),
            epoch,
            offset,
            records,
        };
        #[cfg(test)]
        if let Some(submission) = self.write_to_own_log(&entry) {
            return submission;
        }
        let (queue, slot) = self.slot()?;
        if !queue.is_open() || queue.busy() < CROWD {
            return None;
        }
        let number = queue.submit(slot, &[&entry.head(), entry.name, records])?;
        Some(JournalSubmission { slot, number })
    }

    /// Waits until a submission is in the journal, on the disk; whether it is.
    pub(in crate::store::spool) fn keeps(&self, submission: JournalSubmission) -> bool {
        #[cfg(test)]
        if submission.slot == NO_SLOT {
            return true;
        }
        let Some(queue) = self.queue else {
            return false;
        };
        let completion = queue.wait(submission.slot, submission.number, COMPLETION_TIMEOUT);
        if completion == Completion::TimedOut {
            // Spares the other processes the same wait. The writer goes on by itself once it answers.
            queue.pause();
        }
        completion == Completion::Done
    }

    /// That of the directory.
    pub(in crate::store::spool) fn descriptor(&self) -> Option<RawFd> {
        self.dir.as_ref().map(|dir| dir.as_fd().as_raw_fd())
    }

    /// The directory, for those who write the journal, or settle it.
    pub(in crate::store::spool) fn dir(&self) -> Result<&Dir, StoreError> {
        self.dir
            .as_ref()
            .ok_or_else(|| StoreError::no_spool(&self.path, "there is no such directory"))
    }

    /// Makes this process write the journal by itself, in segments of `len` bytes, or ends that.
    #[cfg(test)]
    pub(in crate::store::spool) fn set_own_log(&self, len: Option<u64>) {
        let log = len.map(|len| JournalLog::open(self.dir().expect("there"), len).expect("made"));
        *self.own_log.lock().expect("locked") = log;
    }

    /// Calls `work` with the journal that this process writes by itself, if it does.
    #[cfg(test)]
    pub(super) fn with_own_log<T>(&self, work: impl FnOnce(&mut JournalLog) -> T) -> Option<T> {
        self.own_log.lock().expect("locked").as_mut().map(work)
    }

    /// `None` when this process does not write by itself; `Some(None)` when there was no room.
    #[cfg(test)]
    fn write_to_own_log(&self, entry: &JournalEntry<'_>) -> Option<Option<JournalSubmission>> {
        self.with_own_log(|log| {
            let mut batch = JournalBatch::default();
            batch.push(&[&entry.head()[..], entry.name, entry.records].concat());
            let has_room =
                log.has_room(&batch) || (log.turn().expect("turned") && log.has_room(&batch));
            has_room.then(|| {
                log.write(&mut batch).expect("written");
                JournalSubmission {
                    slot: NO_SLOT,
                    number: 0,
                }
            })
        })
    }
}
