//! The sandbox: this process and its children permanently drop rights that they never need.

mod calls;
mod domain;
mod filter;

use std::io;
use std::path::Path;

pub(crate) use self::calls::Calls;
pub(crate) use self::domain::ChildDomain;

/// A part of the sandbox that the kernel does not support, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Lacking {
    what: &'static str,
    why: String,
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

/// Applies a sandbox to this process and its future children: they gain no privileges through execve(2) (prctl(2)),
/// reach only the files of the rules (landlock(7)), and make only the system calls of the rules (seccomp(2)). Returns the
/// parts that the kernel does not support; the others are in force. A further sandbox can only remove rights.
///
/// # Errors
/// EMFILE when this process cannot open two more descriptors.
pub(crate) fn lay(rules: Rules<'_>) -> io::Result<Vec<Lacking>> {
    // Landlock needs descriptors for the ruleset and for a path. Check first, as it ignores a path that does not open.
    drop(io::pipe()?);
    let lacking = |what| move |why| Lacking { what, why };
    let parts = [
        no_new_privileges().map_err(|e| lacking("no new privileges")(e.to_string())),
        domain::lay(rules),
        filter::lay(rules.calls).map_err(lacking("seccomp")),
    ];
    Ok(parts.into_iter().filter_map(Result::err).collect())
}

/// Prevents this process and its children from gaining privileges through execve(2) (PR_SET_NO_NEW_PRIVS,
/// since Linux 3.5).
pub(crate) fn no_new_privileges() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

#[cfg(test)]
mod tests;
