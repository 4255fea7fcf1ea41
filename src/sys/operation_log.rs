//! A log of the file operations of a thread, for tests that simulate a crash.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A recorded operation. Files are identified by inode number, which a rename does not change.
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
    /// A mark that the test sets: an index into a list of the test.
    Note(usize),
}

thread_local! {
    static LOG: RefCell<Option<Vec<Op>>> = const { RefCell::new(None) };
}

/// Starts the recording of this thread.
pub(crate) fn start() {
    LOG.set(Some(Vec::new()));
}

/// Ends the recording, and returns the operations in their order.
pub(crate) fn take() -> Vec<Op> {
    LOG.take().unwrap_or_default()
}

/// Appends an operation to the recording, if there is one.
pub(crate) fn record(op: impl FnOnce() -> Op) {
    LOG.with_borrow_mut(|log| {
        if let Some(log) = log {
            log.push(op());
        }
    });
}

/// Returns the inode number of `file`.
pub(crate) fn number(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.ino())
}
