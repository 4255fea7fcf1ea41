//! The logins of this machine, and becoming one of them.

use std::ffi::CString;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User};

/// The login of the user with this number, from wherever this machine keeps them (NSS); `None` when there is
/// none, or it cannot be found out.
pub(crate) fn name(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()?;
    user.map(|user| user.name)
}

/// The login of whoever runs this process, as [`name`] has it.
pub(crate) fn own() -> Option<String> {
    name(nix::unistd::geteuid().as_raw())
}

/// Whether this process has the rights of root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// An account of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Account(User);

/// The account with this name, if there is one.
pub(crate) fn account(name: &str) -> Option<Account> {
    User::from_name(name).ok()?.map(Account)
}

impl Account {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Its number.
    pub(crate) fn uid(&self) -> u32 {
        self.0.uid.as_raw()
    }

    /// The number of its group.
    pub(crate) fn gid(&self) -> u32 {
        self.0.gid.as_raw()
    }

    /// Whether it is root's.
    pub(crate) fn is_root(&self) -> bool {
        self.0.uid.is_root()
    }
}

/// Lets root, who may do anything to the directory `path`, become the account that owns it, for good, so that what is
/// made there belongs to its owner. Nothing happens where there is no such directory, or this process is not root's.
///
/// # Errors
/// When the owner has no account; those of [`become_account`].
pub(crate) fn become_owner(path: &Path) -> io::Result<()> {
    let owner = match std::fs::metadata(path) {
        Ok(meta) => std::os::unix::fs::MetadataExt::uid(&meta),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if !is_root() || owner == 0 {
        return Ok(());
    }
    match User::from_uid(Uid::from_raw(owner))? {
        Some(user) => become_account(&Account(user)),
        None => {
            let message = format!("user number {owner} has no account");
            Err(io::Error::new(io::ErrorKind::NotFound, message))
        }
    }
}

/// Becomes `account`, with its groups and no others, and makes sure that there is no way back. Must be called while
/// there is only one thread.
///
/// # Errors
/// Those of `initgroups(3)`, `setresgid(2)` and `setresuid(2)`; `PermissionDenied` when root could be had back.
pub(crate) fn become_account(account: &Account) -> io::Result<()> {
    let (uid, gid) = (account.0.uid, account.0.gid);
    nix::unistd::initgroups(&CString::new(account.name())?, gid)?;
    nix::unistd::setresgid(gid, gid, gid)?;
    nix::unistd::setresuid(uid, uid, uid)?;
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    let back = [
        nix::unistd::setresuid(root.0, root.0, root.0),
        nix::unistd::setresgid(root.1, root.1, root.1),
    ];
    if back.iter().any(|way| *way != Err(Errno::EPERM)) {
        let message = "the rights of root could be had back";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}
