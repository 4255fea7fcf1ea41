//! Looks up the logins of this machine, and switches to one of them.
//!
//! Logins are looked up in /etc/passwd first, then with getent(1). Groups are looked up with getent(1) if the machine
//! has sources of groups besides /etc/group, else in that file. The lookup functions of the C library are not used,
//! because they load NSS modules. A daemon that may not start programs delegates getent to a helper process.

mod acting;
mod answers;
mod directory;
mod files;
mod getent;
mod helper;
mod sources;
mod subordinate;
mod table;

use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

pub(crate) use self::acting::acting_as;
pub(crate) use self::directory::LoginDirectory;
use self::files::{Entry, Key};
use self::getent::Directory;
pub(crate) use self::helper::LoginHelper;
use self::helper::{Purpose, Requests};
pub(crate) use self::table::LoginTable;

const LOGINS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Where to look up logins that are not in /etc/passwd. Until [`delegate`] sets it, this process runs getent itself.
static ELSEWHERE: OnceLock<Elsewhere> = OnceLock::new();

#[derive(Debug)]
enum Elsewhere {
    /// Only /etc/passwd is searched. All other logins are unknown.
    Nowhere,
    /// There are more sources, but no way to ask them. Whether another name is a login is not known.
    Unavailable,
    /// The helper looks them up.
    Helper(Requests),
}

/// Makes this process and its future children look up logins through a helper instead of starting a program.
///
/// Returns the helper: the caller runs it in another process, and closes it in this one. Returns `None` when
/// all logins are in /etc/passwd, or on a second call.
///
/// # Errors
/// Those of `socketpair(2)`, and when there is no getent. All lookups of logins that are not in /etc/passwd then fail.
pub(crate) fn delegate() -> io::Result<Option<LoginHelper>> {
    if ELSEWHERE.get().is_some() {
        return Ok(None);
    }
    let (helper, elsewhere) = match Directory::of_this_machine() {
        Directory::None => (Ok(None), Elsewhere::Nowhere),
        Directory::NoGetent => (Err(unavailable()), Elsewhere::Unavailable),
        Directory::Getent(getent) => match LoginHelper::pair(getent) {
            Ok((helper, requests)) => (Ok(Some(helper)), Elsewhere::Helper(requests)),
            Err(e) => (Err(e), Elsewhere::Unavailable),
        },
    };
    // Nothing else sets it.
    let _ = ELSEWHERE.set(elsewhere);
    helper
}

/// Returns the descriptors for requests to the helper. A process that will look up logins must keep them open.
pub(crate) fn descriptors() -> Vec<RawFd> {
    match ELSEWHERE.get() {
        Some(Elsewhere::Helper(requests)) => requests.descriptors(),
        Some(Elsewhere::Nowhere | Elsewhere::Unavailable) | None => Vec::new(),
    }
}

fn unavailable() -> io::Error {
    let what = "nsswitch.conf names more sources of logins than files, and getent(1), which asks them, is not installed \
                or cannot be used";
    io::Error::new(io::ErrorKind::NotFound, what)
}

/// Looks up the login with this key.
fn find(key: Key<'_>) -> io::Result<Option<Entry>> {
    if let Some(entry) = in_file(LOGINS, |file| files::login(file, key))?.flatten() {
        return Ok(Some(entry));
    }
    let Some(argument) = key.argument() else {
        return Ok(None);
    };
    let answer = match ELSEWHERE.get() {
        Some(Elsewhere::Nowhere) => return Ok(None),
        Some(Elsewhere::Unavailable) => return Err(unavailable()),
        Some(Elsewhere::Helper(requests)) => requests.ask(key, Purpose::Client)?,
        None => match Directory::of_this_machine() {
            Directory::Getent(getent) => getent::ask(&getent.program, "passwd", &argument)?,
            Directory::None => return Ok(None),
            Directory::NoGetent => return Err(unavailable()),
        },
    };
    files::login(answer.as_slice(), key)
}

/// Opens the file at `path` and returns the result of `read` for it; `None` when it does not exist.
fn in_file<T>(path: &str, read: impl FnOnce(File) -> io::Result<T>) -> io::Result<Option<T>> {
    match File::open(path).and_then(read) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io::Error::new(e.kind(), format!("cannot read {path}: {e}"))),
    }
}

/// Returns the login with this user ID, from any source of this machine; `None` when there is none.
///
/// # Errors
/// When the lookup fails or times out.
pub(crate) fn name(uid: u32) -> io::Result<Option<String>> {
    Ok(find(Key::Uid(uid))?.map(|entry| entry.name))
}

/// Returns the user ID of the login with this name, from any source of this machine; `None` when there is none.
///
/// # Errors
/// When the lookup fails or times out.
pub(crate) fn uid(name: &str) -> io::Result<Option<u32>> {
    Ok(find(Key::Name(name))?.map(|entry| entry.uid))
}

/// Returns whether nsswitch.conf names more sources of logins than files.
pub(crate) fn has_other_sources() -> bool {
    !matches!(Directory::of_this_machine(), Directory::None)
}

/// Returns the user ID of the login with this name in /etc/passwd; `None` when there is none.
///
/// # Errors
/// When the file exists and cannot be read.
pub(crate) fn uid_in_files(name: &str) -> io::Result<Option<u32>> {
    let found = in_file(LOGINS, |file| files::login(file, Key::Name(name)))?;
    Ok(found.flatten().map(|entry| entry.uid))
}

/// Returns the login of the effective user of this process; `None` also when the lookup fails.
pub(crate) fn own() -> Option<String> {
    name(nix::unistd::geteuid().as_raw()).ok().flatten()
}

/// Returns the name of the group with this ID in /etc/group; `None` also when the file cannot be read.
pub(crate) fn group_name(gid: u32) -> Option<String> {
    let found = in_file(GROUPS, |file| files::group(file, gid));
    found.ok().flatten().flatten()
}

/// Returns whether the group of this process belongs to its login alone: it has the same name. A group such as `users`
/// does not.
pub(crate) fn has_own_group() -> bool {
    let group = group_name(nix::unistd::getegid().as_raw());
    group.is_some() && group == own()
}

/// Returns whether this process runs as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// An account of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    /// All groups of the account, the primary one included.
    groups: Vec<Gid>,
}

/// Returns the account with this name; `None` when there is none.
///
/// # Errors
/// When the lookup fails or times out.
pub(crate) fn account(name: &str) -> io::Result<Option<Account>> {
    find(Key::Name(name))?.map(Account::of).transpose()
}

/// Returns whether there is an account with this name.
///
/// # Errors
/// When the lookup fails or times out.
pub(crate) fn exists(name: &str) -> io::Result<bool> {
    Ok(find(Key::Name(name))?.is_some())
}

impl Account {
    /// Looks up the groups of a login. If getent fails, the account has only its groups in /etc/group: it gets fewer
    /// rights, never more.
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

    /// Returns the login name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the user ID.
    pub(crate) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Returns the ID of the primary group.
    pub(crate) fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    /// Returns whether this is the account of root.
    pub(crate) fn is_root(&self) -> bool {
        self.uid.is_root()
    }
}

/// Switches from root permanently to the account that owns the directory `path`, so that new files in it belong to this
/// account. Does nothing when the directory does not exist, or this process does not run as root.
///
/// # Errors
/// When the directory cannot be examined, its owner has no account or the lookup fails; those of [`become_account`].
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
            let message = format!("uid {owner} has no account");
            Err(io::Error::new(io::ErrorKind::NotFound, message))
        }
    }
}

/// Switches permanently to `account` and its groups, and verifies that root cannot be regained. Must be called while
/// there is only one thread.
///
/// # Errors
/// Those of `setgroups(2)`, `setresgid(2)` and `setresuid(2)`; `PermissionDenied` when root can be regained.
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
        let message = "root privileges can be regained";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
