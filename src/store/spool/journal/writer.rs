//! The process that writes the journal. It takes the submissions of all other processes, writes them at once, and syncs
//! the journal once for all of them.
//!
//! It can be killed at any time, and started again while other processes append. Submitters sync their mailboxes
//! themselves if their submissions are not completed. The next writer settles the journal first.

use std::io;
use std::time::Duration;

use super::segments::{self, JournalBatch, JournalLog, SEGMENT};
use super::settle::{self, PageCache};
use crate::store::StoreError;
use crate::store::spool::handle::Spool;
use crate::store::spool::room;
use crate::sys::clock::Deadline;
use crate::sys::helper::Helper;
use crate::sys::process::{self, End, Pid};
use crate::sys::submission_queue::{Completion, SubmissionQueue};

/// The idle time after which the writer empties the journal, so that a crash leaves little to recover.
const QUIET: Duration = Duration::from_secs(1);
/// How often an idle writer checks whether the full segment has been emptied.
const SHORT: Duration = Duration::from_millis(10);
/// How long the writer waits for killed processes of its predecessor to exit.
const PREDECESSOR_EXIT_TIMEOUT: Duration = Duration::from_secs(30);
/// The free space above `min_free_bytes` that the journal requires, in bytes: many times its size.
const ROOM: u64 = 16 * SEGMENT;

/// Writes the journal until the queue is drained, then empties the journal.
///
/// # Errors
/// System errors. The entries stay in the journal for the next writer or the next start of the daemon.
pub(in crate::store::spool) fn run(
    spool: &Spool,
    queue: SubmissionQueue,
) -> Result<(), StoreError> {
    let mut writer = JournalWriter {
        spool,
        queue,
        log: None,
        emptier: None,
        not_before: Deadline::after(Duration::ZERO),
        page_cache: PageCache::Trusted,
    };
    let result = writer.run();
    queue.close();
    result
}

struct JournalWriter<'s> {
    spool: &'s Spool,
    queue: SubmissionQueue,
    /// Opened at the first submission, so that a daemon that does not need the journal takes no space for it.
    log: Option<JournalLog>,
    /// The process that empties the full segment.
    emptier: Option<Pid>,
    /// When the next emptier may be forked.
    not_before: Deadline,
    /// Suspect after an emptier was killed, because it may have received a disk error.
    page_cache: PageCache,
}

impl JournalWriter<'_> {
    fn run(&mut self) -> Result<(), StoreError> {
        let mut batch = JournalBatch::default();
        let mut taken = Vec::new();
        self.settle_predecessor()?;
        self.queue.open();
        loop {
            batch.clear();
            taken.clear();
            self.queue.take_all(&mut taken, |entry| batch.push(entry));
            if !taken.is_empty() {
                let written = self.write(&mut batch);
                let completion = match written {
                    Ok(true) => Completion::Done,
                    Ok(false) | Err(_) => Completion::Unknown,
                };
                self.queue.complete(&taken, completion);
                if !written? {
                    self.queue.pause();
                    self.begin()?;
                }
            } else if self.queue.is_draining() {
                return self.end();
            } else {
                self.rest()?;
            }
            self.empty_what_is_full()?;
        }
    }

    /// Settles the journal that an earlier writer has left, while other processes append. That writer, or its emptier,
    /// may have died after it received a disk error for a mailbox.
    fn settle_predecessor(&self) -> Result<(), StoreError> {
        let dir = self.spool.journal.dir()?;
        segments::each_left(dir, PREDECESSOR_EXIT_TIMEOUT, |segment, path| {
            settle::settle(self.spool, segment, path, PageCache::Suspect)
        })
    }

    /// Writes a batch. Returns whether there was room for it.
    fn write(&mut self, batch: &mut JournalBatch) -> Result<bool, StoreError> {
        let Some(log) = &mut self.log else {
            return Ok(false);
        };
        let path = self.spool.journal.path();
        let write = |e| StoreError::system("write to the journal in", path)(e);
        let has_room = log.has_room(batch) || (log.turn().map_err(write)? && log.has_room(batch));
        if has_room {
            log.write(batch).map_err(write)?;
        }
        Ok(has_room)
    }

    /// Opens the journal unless it is open or the disk has no room for it. The caller has paused the
    /// queue, so that submitters do not wait for this.
    fn begin(&mut self) -> Result<(), StoreError> {
        if self.log.is_none() && room::for_bytes(&self.spool.paths.mail, &self.spool.limits, ROOM)?
        {
            self.log = Some(self.open_log()?);
            self.queue.resume();
        }
        Ok(())
    }

    fn open_log(&self) -> Result<JournalLog, StoreError> {
        let journal = &self.spool.journal;
        JournalLog::open(journal.dir()?, SEGMENT)
            .map_err(StoreError::system("make the journal in", journal.path()))
    }

    /// Sleeps until there is work. After an idle time, switches segments, so that the current one is emptied, and
    /// resumes a paused queue, as there may be room again.
    fn rest(&mut self) -> Result<(), StoreError> {
        let is_used = self.log.as_ref().is_some_and(JournalLog::any_used);
        let limit = match self.emptier {
            Some(_) => Some(SHORT),
            None if is_used || self.queue.is_paused() => Some(QUIET),
            None => None,
        };
        let quiet = self.queue.sleep(limit);
        if self.emptier.is_some() || !quiet {
            return Ok(());
        }
        self.queue.resume();
        let path = self.spool.journal.path();
        match self.log.as_mut().filter(|log| log.any_used()) {
            Some(log) => log.turn().map(|_| ()),
            None => Ok(()),
        }
        .map_err(StoreError::system("write to the journal in", path))
    }

    /// Forks a process to empty the full segment, or reaps that process.
    fn empty_what_is_full(&mut self) -> Result<(), StoreError> {
        let full = self.log.as_ref().and_then(JournalLog::full);
        let Some(segment) = full else {
            return Ok(());
        };
        match self.emptier {
            Some(_) => match process::reap() {
                None => Ok(()),
                Some((pid, end)) => {
                    self.emptier = None;
                    self.has_emptied(segment, pid, end)
                }
            },
            None if self.not_before.passed() => {
                self.fork_emptier(segment);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Handles the exit of an emptier.
    fn has_emptied(&mut self, segment: usize, pid: Pid, end: End) -> Result<(), StoreError> {
        match end {
            End::Status(0) => {
                if let Some(log) = &mut self.log {
                    log.emptied(segment);
                }
                self.queue.resume();
                Ok(())
            }
            End::Status(_) => {
                let why = io::Error::other("see above");
                Err(StoreError::system("empty", self.spool.journal.path())(why))
            }
            End::Signal(_) => {
                log::warn!(
                    "the process that empties the journal (process {pid}) {end}; trying again"
                );
                self.not_before = Deadline::after(QUIET);
                self.page_cache = PageCache::Suspect;
                Ok(())
            }
        }
    }

    fn fork_emptier(&mut self, segment: usize) {
        let empty = || match &self.log {
            Some(log) => log_error(settle::empty(self.spool, log, segment, self.page_cache)),
            None => false,
        };
        match Helper::new().fork(empty) {
            Ok(pid) => self.emptier = Some(pid),
            Err(e) => {
                log::warn!("cannot fork a process that empties the journal: {e}; trying again");
                self.not_before = Deadline::after(QUIET);
            }
        }
    }

    /// Empties the whole journal.
    fn end(&mut self) -> Result<(), StoreError> {
        if let Some(emptier) = self.emptier.take() {
            process::wait(emptier);
            // Its exit status is unknown here, and it may have received a disk error.
            self.page_cache = PageCache::Suspect;
        }
        match self.log.take() {
            Some(log) => log
                .used()
                .try_for_each(|segment| settle::empty(self.spool, &log, segment, self.page_cache)),
            None => Ok(()),
        }
    }
}

/// Logs the error, if any. Returns whether `result` is a success.
fn log_error(result: Result<(), StoreError>) -> bool {
    result
        .inspect_err(|e| log::error!("cannot empty the journal: {e}"))
        .is_ok()
}
