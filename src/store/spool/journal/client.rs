//! The submitting side of the journal: a process submits the records that it has written to a mailbox, and waits until
//! they are durable in the journal.

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

/// The number of processes, this one included, that must wait for the disk before the journal is used.
const CROWD: u32 = 3;
/// How long a process waits for the journal before it syncs its mailbox itself.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(5);
/// The slot number of a process without a slot.
const NO_SLOT: usize = usize::MAX;

/// The journal of a spool, for processes that append.
#[derive(Debug)]
pub(in crate::store::spool) struct Journal {
    /// `None` when the spool has no journal, which is allowed for inspection only.
    dir: Option<Dir>,
    path: PathBuf,
    queue: Option<SubmissionQueue>,
    /// The slot of this process in the queue.
    slot: AtomicUsize,
    /// A journal that this process writes itself, one entry at a time, so that a test controls the order of writes.
    #[cfg(test)]
    own_log: std::sync::Mutex<Option<JournalLog>>,
}

/// A submission to the journal writer.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::spool) struct JournalSubmission {
    slot: usize,
    number: u32,
}

impl Journal {
    /// Opens the journal of the spool in `root`, without a queue to its writer.
    ///
    /// # Errors
    /// When `openat(2)` fails with an error other than ENOENT.
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

    /// Creates the submission queue, which all processes forked from this one share.
    ///
    /// # Errors
    /// When `mmap(2)` fails.
    pub(in crate::store::spool) fn share(&mut self) -> io::Result<SubmissionQueue> {
        let queue = SubmissionQueue::new()?;
        self.queue = Some(queue);
        Ok(queue)
    }

    /// Sets the slot of this process in the queue. No other live process may have the same slot.
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

    /// Submits `records`, which were written to the mailbox of `name` at `offset`; `None` when the caller must sync the
    /// mailbox itself.
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

    /// Waits until a submission is durable in the journal. Returns whether it is.
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
            // Spare other processes the same wait. The writer resumes the queue when it responds again.
            queue.pause();
        }
        completion == Completion::Done
    }

    /// Returns the descriptor of the journal directory.
    pub(in crate::store::spool) fn descriptor(&self) -> Option<RawFd> {
        self.dir.as_ref().map(|dir| dir.as_fd().as_raw_fd())
    }

    /// Returns the journal directory, for processes that write or settle the journal.
    pub(in crate::store::spool) fn dir(&self) -> Result<&Dir, StoreError> {
        self.dir
            .as_ref()
            .ok_or_else(|| StoreError::no_spool(&self.path, "there is no such directory"))
    }

    /// Makes this process write the journal itself, in segments of `len` bytes, or stop with `None`.
    #[cfg(test)]
    pub(in crate::store::spool) fn set_own_log(&self, len: Option<u64>) {
        let log = len.map(|len| JournalLog::open(self.dir().expect("there"), len).expect("made"));
        *self.own_log.lock().expect("locked") = log;
    }

    /// Calls `work` with the journal that this process writes itself, if there is one.
    #[cfg(test)]
    pub(super) fn with_own_log<T>(&self, work: impl FnOnce(&mut JournalLog) -> T) -> Option<T> {
        self.own_log.lock().expect("locked").as_mut().map(work)
    }

    /// Returns `None` when this process does not write the journal itself, and `Some(None)` when the journal is full.
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
