//! What a sandbox allows, and what of it a kernel does not support.

use std::path::Path;

use super::calls::Calls;

/// A part of the sandbox that the kernel does not support, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Lacking {
    pub(super) what: &'static str,
    pub(super) why: String,
}

/// The rights of a process inside the sandbox. Paths that do not exist are ignored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// Files and directories to read and write.
    pub(crate) writable: &'a [&'a Path],
    /// Files and directories to read, and with [`Calls::Programs`] to run programs from.
    pub(crate) readable: &'a [&'a Path],
    /// Directories from which files may be removed, and nothing else.
    pub(crate) removable: &'a [&'a Path],
    /// The system calls that the process needs.
    pub(crate) calls: Calls,
}
