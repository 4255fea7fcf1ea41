//! The operations on files that a thread performs, recorded for tests that simulate a crash.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Something that is done, in the order of time. Files go by their inode number, which no name changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    MakeDir(PathBuf),
    Create(PathBuf, u64),
    Write(u64, u64, Vec<u8>),
    Truncate(u64, u64),
    Punch(u64, u64, u64),
    Sync(u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
    /// Something that the test notes by itself: an index into its own list.
    Note(usize),
}

thread_local! {
    static LOG: RefCell<Option<Vec<Op>>> = const { RefCell::new(None) };
}

/// Records what this thread does from now on.
pub(crate) fn start() {
    LOG.set(Some(Vec::new()));
}

/// Ends the recording.
pub(crate) fn take() -> Vec<Op> {
    LOG.take().unwrap_or_default()
}

/// Adds to the recording, if there is one.
pub(crate) fn record(op: impl FnOnce() -> Op) {
    LOG.with_borrow_mut(|log| {
        if let Some(log) = log {
            log.push(op());
        }
    });
}

/// The inode number of a file.
pub(crate) fn number(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.ino())
}
