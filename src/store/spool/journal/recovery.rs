//! Recovery: settles the journal that a killed daemon has left, before the spool is used. To settle is to make the
//! entries durable in their mailboxes and to empty the journal.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::segments;
use super::settle::{PageCache, SegmentContents, keep, set_aside};
use crate::name::Name;
use crate::store::StoreError;
use crate::store::spool::check;
use crate::store::spool::handle::Spool;
use crate::sys::clock::unix_millis;
use crate::sys::dir::Dir;
use crate::sys::lock::Locked;

/// How long a start waits for the processes of a killed daemon to exit, and for another process's recovery.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The exclusive right to recover a journal. Processes that inspect the spool wait for it.
#[derive(Debug)]
pub(in crate::store::spool) struct RecoveryLock {
    _lock: Locked,
}

impl RecoveryLock {
    /// Waits for the lock of the journal directory, for at most 30 seconds.
    ///
    /// # Errors
    /// When another process holds the lock for that long; system errors.
    pub(in crate::store::spool) fn take(dir: &Dir) -> Result<Self, StoreError> {
        let path = dir.path().to_owned();
        let lock = dir
            .reopened()
            .and_then(|dir| Locked::within(dir, START_TIMEOUT))
            .map_err(StoreError::system("lock", &path))?;
        match lock {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err(_) => Err(StoreError::no_spool(
                path,
                "another process is recovering the journal; try again later",
            )),
        }
    }
}

/// Settles the journal of a daemon that did not exit cleanly. No other process may use the spool.
///
/// # Errors
/// System errors. Segments that are not settled keep their entries.
pub(in crate::store::spool) fn recover(
    spool: &Spool,
    _right: &RecoveryLock,
) -> Result<(), StoreError> {
    let Ok(dir) = spool.journal.dir() else {
        return Ok(());
    };
    let mut mended = BTreeSet::new();
    segments::each_left(dir, START_TIMEOUT, |segment, path| {
        let settled = recover_segment(spool, segment, path);
        mended.extend(settled.map_err(|e| explained(path, e))?);
        Ok(())
    })?;
    // Only after both segments: a rewritten mailbox has a new epoch and takes no more entries from the journal.
    mended
        .iter()
        .try_for_each(|name| check::close_gaps(spool, name))
}

/// Settles a segment of a dead daemon, as [`settle()`](super::settle::settle). Entries of a mailbox whose disk has
/// failed go to quarantine. Returns the mailboxes that were written to.
///
/// # Errors
/// System errors, such as a full disk. The segment then keeps its entries.
fn recover_segment(spool: &Spool, segment: &File, path: &Path) -> Result<Vec<Name>, StoreError> {
    let Some(bytes) = segments::read(segment).map_err(StoreError::system("read", path))? else {
        return Ok(Vec::new());
    };
    let contents = SegmentContents::of(&bytes);
    if contents.is_damaged {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let copy = format!("journal.{name}@{}", unix_millis());
        keep(spool, &copy, &bytes)?;
        log::error!(
            "the journal {} is damaged: accepted messages may be lost; its readable entries go to the mailboxes, and a \
             copy of the file is in {}",
            path.display(),
            spool.paths.quarantine.path_of(&copy).display()
        );
    }
    let mut settled = contents.settle(spool, PageCache::Suspect);
    if !settled.failed.is_empty() {
        // The first sync may have reported the error of an earlier write, see fsync(2). A second attempt may succeed.
        let again = contents.settle(spool, PageCache::Suspect);
        settled.failed = again.failed;
        settled.written += again.written;
        settled.set_aside += again.set_aside;
        settled.mended.extend(again.mended);
    }
    for (name, e) in settled.failed {
        if !&e.is_of_the_disk() {
            return Err(e);
        }
        let entries = contents.by_name.get(name.as_bytes());
        let entries: Vec<_> = entries.into_iter().flatten().collect();
        set_aside(spool, &name, &entries, &e.to_string())?;
        settled.set_aside += entries.len();
    }
    segments::clear(segment).map_err(StoreError::system("empty", path))?;
    if settled.entries > 0 {
        log::info!(
            "recovered the journal {} with {} entries: {} were missing from their mailboxes and were written to them; \
             {} could not be written and are in quarantine",
            path.display(),
            settled.entries,
            settled.written,
            settled.set_aside
        );
    }
    Ok(settled.mended)
}

/// Turns the error of a full disk, or of a file that cannot grow, into [`StoreError::Unavailable`].
fn explained(path: &Path, e: StoreError) -> StoreError {
    match e {
        StoreError::DiskFull(_) => StoreError::Unavailable {
            place: format!("the journal {}", path.display()),
            why: "the disk is too full to write them to their mailboxes; free some space",
        },
        StoreError::FileLimit(_) => StoreError::Unavailable {
            place: format!("the journal {}", path.display()),
            why: "their mailboxes cannot grow; raise the limit on the size of files",
        },
        e => e,
    }
}

/// Returns whether [`recover`] has anything to do.
///
/// # Errors
/// System errors.
pub(in crate::store::spool) fn is_needed(spool: &Spool) -> Result<bool, StoreError> {
    let Ok(dir) = spool.journal.dir() else {
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
