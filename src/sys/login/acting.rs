//! Switches from root to an account for a short time.

use std::io;

use nix::unistd::{getegid, geteuid, getgroups, setegid, seteuid, setgroups};

use super::Account;

/// Runs `what` with the effective user and the groups of `account`, then switches back. Must be called by root while
/// there is only one thread. The account cannot signal or trace the process meanwhile: its real user stays root.
///
/// # Errors
/// Those of `setgroups(2)`, `setegid(2)` and `seteuid(2)`.
pub(crate) fn acting_as<T>(account: &Account, what: impl FnOnce() -> T) -> io::Result<T> {
    let (user, group, groups) = (geteuid(), getegid(), getgroups()?);
    setgroups(&account.groups)?;
    let switched = setegid(account.gid).and_then(|()| seteuid(account.uid));
    let result = switched.map(|()| what());
    seteuid(user)?;
    setegid(group)?;
    setgroups(&groups)?;
    Ok(result?)
}
