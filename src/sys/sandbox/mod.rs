//! The sandbox: this process and its children permanently drop rights that they never need.

mod arguments;
mod calls;
mod domain;
mod filter;
mod rules;

use std::io;

pub(crate) use self::calls::Calls;
pub(crate) use self::domain::ChildDomain;
pub(crate) use self::rules::{Lacking, Rules};

/// Applies a sandbox to this process and its future children: they gain no privileges through execve(2) (prctl(2)),
/// reach only the files of the rules (landlock(7)), and make only the system calls of the rules (seccomp(2)). Returns
/// the parts that the kernel does not support; the others are in force. A further sandbox can only remove rights.
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
