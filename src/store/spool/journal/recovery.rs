//! After a daemon that was killed: what it has left in the journal is brought to the mailboxes before the spool is used.

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

/// How long a start waits until the writer of a daemon that was killed is gone.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The right to settle what is left in a journal: whoever looks at the spool meanwhile waits for that.
#[derive(Debug)]
pub(in crate::store::spool) struct RecoveryLock {
    _lock: Locked,
}

impl RecoveryLock {
    /// Waits for it in the directory of the journal, for half a minute at most.
    ///
    /// # Errors
    /// Those of the system; that somebody else has it all the time.
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
                "another process brings what is in the journal to the mailboxes; try again later",
            )),
        }
    }
}

/// Settles what a daemon that did not come to its end has left in the journal. Nobody else may work on the spool.
///
/// # Errors
/// Those of the system. Then it is all still there.
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
    // Only now, as what is written anew takes nothing from the journal any more.
    mended
        .iter()
        .try_for_each(|name| check::close_gaps(spool, name))
}

/// As [`settle()`](super::settle::settle), for a journal that was left behind, which nobody else works with. Of a mailbox that the disk has failed
/// for good, what the journal has goes to quarantine. Returns the mailboxes that were written to.
///
/// # Errors
/// Those of the system: a disk that is full, above all. Then the segment is as it was.
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
            "the journal {} is damaged: some of what was accepted may be lost; what can be read is settled, and all of \
             it is in {}",
            path.display(),
            spool.paths.quarantine.path_of(&copy).display()
        );
    }
    let mut settled = contents.settle(spool, PageCache::Suspect);
    if !settled.failed.is_empty() {
        // The first time the kernel tells of what has failed before; what is written now may well get there.
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
            "the journal {} was left with {} entries, {} of which were not in their mailboxes: now they are; {} could not be \
             put there",
            path.display(),
            settled.entries,
            settled.written,
            settled.set_aside
        );
    }
    Ok(settled.mended)
}

/// What a full disk means here.
fn explained(path: &Path, e: StoreError) -> StoreError {
    match e {
        StoreError::DiskFull(_) => StoreError::Unavailable {
            place: format!("the journal {}", path.display()),
            why: "the disk has no room to put them into their mailboxes; make room there",
        },
        e => e,
    }
}

/// Whether [`recover`] has something to do.
///
/// # Errors
/// Those of the system.
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
