//! A log of the file operations of a thread, for tests that simulate a crash, and operations that fail.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
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
    /// The number of operations before the one that fails.
    static BEFORE_FAILURE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Starts the recording of this thread.
pub(crate) fn start() {
    LOG.set(Some(Vec::new()));
}

/// Ends the recording, and returns the operations in their order.
pub(crate) fn take() -> Vec<Op> {
    LOG.take().unwrap_or_default()
}

/// Makes one operation of this thread fail, after `before` others. `None`: all succeed.
pub(crate) fn fail_after(before: Option<usize>) {
    BEFORE_FAILURE.set(before);
}

/// Returns whether the operation that [`fail_after`] has selected is still to come.
pub(crate) fn is_failure_ahead() -> bool {
    BEFORE_FAILURE.get().is_some()
}

/// Appends an operation to the recording, if there is one.
///
/// # Errors
/// EIO, if this operation is to fail.
pub(crate) fn record(op: impl FnOnce() -> Op) -> io::Result<()> {
    LOG.with_borrow_mut(|log| log.as_mut().map(|log| log.push(op())));
    let before = BEFORE_FAILURE.get();
    BEFORE_FAILURE.set(before.and_then(|before| before.checked_sub(1)));
    match before {
        Some(0) => Err(io::Error::from_raw_os_error(libc::EIO)),
        _ => Ok(()),
    }
}

/// Appends a mark to the recording, if there is one.
pub(crate) fn note(index: usize) {
    LOG.with_borrow_mut(|log| log.as_mut().map(|log| log.push(Op::Note(index))));
}

/// Returns the inode number of `file`.
pub(crate) fn number(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.ino())
}
