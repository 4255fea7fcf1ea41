//! The logins of this machine, and becoming one of them.
//!
//! They are looked up in /etc/passwd and /etc/group, and what is not there by getent(1); never by the C library,
//! which loads libraries for that (NSS). A daemon that may start no programs delegates getent to a helper process.

mod files;
mod getent;
mod helper;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

use self::files::{Entry, Key};
pub(crate) use self::helper::LoginHelper;

const LOGINS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// How logins are looked up that are not in /etc/passwd, once [`delegate`] was called: by getent before.
static ELSEWHERE: OnceLock<Elsewhere> = OnceLock::new();

#[derive(Debug)]
enum Elsewhere {
    /// They are not: /etc/passwd has all.
    Nowhere,
    /// By the helper at the other end of this socket.
    Helper(OwnedFd),
}

/// Makes this process, and all that it forks from now on, start no program to look up a login, but send requests to the
/// helper that this returns: to be run in another process, and closed in this one. `None` where /etc/passwd has all
/// logins, or this was called before.
///
/// # Errors
/// Those of `socketpair(2)`. Then logins that are not in /etc/passwd are unknown.
pub(crate) fn delegate() -> io::Result<Option<LoginHelper>> {
    let pair = match (getent::for_logins(), ELSEWHERE.get()) {
        (Some(program), None) => LoginHelper::pair(program).map(Some),
        _ => Ok(None),
    };
    let (helper, elsewhere) = match pair {
        Ok(Some((helper, requests))) => (Ok(Some(helper)), Elsewhere::Helper(requests)),
        Ok(None) => (Ok(None), Elsewhere::Nowhere),
        Err(e) => (Err(e), Elsewhere::Nowhere),
    };
    // It is set already when this is called twice.
    let _ = ELSEWHERE.set(elsewhere);
    helper
}

/// The descriptor that requests are sent to, for a process that will look up logins and closes all others.
pub(crate) fn descriptor() -> Option<RawFd> {
    match ELSEWHERE.get()? {
        Elsewhere::Helper(requests) => Some(requests.as_raw_fd()),
        Elsewhere::Nowhere => None,
    }
}

/// The login with this key.
fn find(key: Key<'_>) -> io::Result<Option<Entry>> {
    if let Some(entry) = in_file(LOGINS, |file| files::login(file, key))?.flatten() {
        return Ok(Some(entry));
    }
    let Some(argument) = key.argument() else {
        return Ok(None);
    };
    let answer = match ELSEWHERE.get() {
        Some(Elsewhere::Nowhere) => return Ok(None),
        Some(Elsewhere::Helper(requests)) => helper::ask(requests.as_fd(), key)?,
        None => match getent::for_logins() {
            Some(program) => getent::ask(&program, "passwd", &argument)?,
            None => return Ok(None),
        },
    };
    files::login(answer.as_slice(), key)
}

/// What `read` finds in the file at `path`; `None` when there is no such file.
fn in_file<T>(path: &str, read: impl FnOnce(File) -> io::Result<T>) -> io::Result<Option<T>> {
    match File::open(path).and_then(read) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io::Error::new(e.kind(), format!("cannot read {path}: {e}"))),
    }
}

/// The login of the user with this number, from wherever this machine keeps them; `None` when there is none.
///
/// # Errors
/// When it cannot be found out, or not in time.
pub(crate) fn name(uid: u32) -> io::Result<Option<String>> {
    Ok(find(Key::Uid(uid))?.map(|entry| entry.name))
}

/// The login of whoever runs this process; `None` also when it cannot be found out.
pub(crate) fn own() -> Option<String> {
    name(nix::unistd::geteuid().as_raw()).ok().flatten()
}

/// Whether this process has the rights of root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// An account of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    /// All groups that it is in.
    groups: Vec<Gid>,
}

/// The account with this name, if there is one.
///
/// # Errors
/// When it cannot be found out, or not in time.
pub(crate) fn account(name: &str) -> io::Result<Option<Account>> {
    find(Key::Name(name))?.map(Account::of).transpose()
}

/// Whether there is an account with this name.
///
/// # Errors
/// When it cannot be found out, or not in time.
pub(crate) fn exists(name: &str) -> io::Result<bool> {
    Ok(find(Key::Name(name))?.is_some())
}

impl Account {
    /// What there is to know of a login, with its groups. Where getent does not answer, those in /etc/group are all:
    /// it can do less, and nothing that it should not.
    fn of(entry: Entry) -> io::Result<Self> {
        let mut groups = vec![entry.gid];
        let name = entry.name;
        let elsewhere = getent::for_groups().zip(Key::Name(&name).argument());
        let answer = elsewhere.and_then(|(program, name)| {
            let answer = getent::ask(&program, "initgroups", &name).ok()?;
            files::initgroups(&answer, &name)
        });
        match answer {
            Some(answer) => groups.extend(answer),
            None => {
                let in_file = in_file(GROUPS, |file| files::groups(file, &name))?;
                groups.extend(in_file.unwrap_or_default());
            }
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(Self {
            name,
            uid: Uid::from_raw(entry.uid),
            gid: Gid::from_raw(entry.gid),
            groups: groups.into_iter().map(Gid::from_raw).collect(),
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub(crate) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// The number of its group.
    pub(crate) fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    /// Whether it is root's.
    pub(crate) fn is_root(&self) -> bool {
        self.uid.is_root()
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
    match find(Key::Uid(owner))? {
        Some(entry) => become_account(&Account::of(entry)?),
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
/// Those of `setgroups(2)`, `setresgid(2)` and `setresuid(2)`; `PermissionDenied` when root could be had back.
pub(crate) fn become_account(account: &Account) -> io::Result<()> {
    let (uid, gid) = (account.uid, account.gid);
    nix::unistd::setgroups(&account.groups)?;
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

#[cfg(test)]
mod tests;
