//! The logins of this machine, and becoming one of them.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User};

use super::process::{self, Side};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    /// All groups that it is in.
    groups: Vec<Gid>,
}

/// The account with this name, if there is one. Must be called while there is only one thread.
///
/// A process of its own looks it up: what NSS loads for that (on many machines a library for systemd's users and two
/// more behind it) would stay in this one, and make each fork dearer.
///
/// # Errors
/// Those of `pipe(2)` and `fork(2)`; those of NSS are no account.
pub(crate) fn account(name: &str) -> io::Result<Option<Account>> {
    let (read_end, write_end) = nix::unistd::pipe()?;
    match process::fork()? {
        Side::Child => {
            let mut answer = File::from(write_end);
            // Whoever reads half an answer has none.
            let _ = look_up(name).map(|account| answer.write_all(account.encode().as_bytes()));
            process::exit_now(0)
        }
        Side::Parent(pid) => {
            drop(write_end);
            let mut answer = String::new();
            let read = File::from(read_end).read_to_string(&mut answer);
            process::wait(pid);
            read.map(|_| Account::decode(&answer))
        }
    }
}

/// Whether there is an account with this name. What NSS loads for that stays in this process.
pub(crate) fn exists(name: &str) -> bool {
    matches!(User::from_name(name), Ok(Some(_)))
}

fn look_up(name: &str) -> Option<Account> {
    let user = User::from_name(name).ok()??;
    let groups = nix::unistd::getgrouplist(&CString::new(name).ok()?, user.gid).ok()?;
    Some(Account {
        name: user.name,
        uid: user.uid,
        gid: user.gid,
        groups,
    })
}

impl Account {
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

    /// Numbers, the name, and an end mark: a line.
    fn encode(&self) -> String {
        let groups: Vec<_> = self.groups.iter().map(Gid::to_string).collect();
        let groups = groups.join(",");
        format!("{} {} {groups} {}\n", self.uid, self.gid, self.name)
    }

    fn decode(line: &str) -> Option<Self> {
        let mut fields = line.strip_suffix('\n')?.splitn(4, ' ');
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let groups = fields.next()?.split(',').map(str::parse);
        let groups: Result<Vec<_>, _> = groups.collect();
        Some(Self {
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(gid),
            groups: groups.ok()?.into_iter().map(Gid::from_raw).collect(),
            name: fields.next()?.to_owned(),
        })
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
    let name = User::from_uid(Uid::from_raw(owner))?.map(|user| user.name);
    match name.and_then(|name| look_up(&name)) {
        Some(account) => become_account(&account),
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
mod tests {
    use super::*;

    #[test]
    fn an_account_is_what_the_machine_says() {
        let root = look_up("root").expect("every machine has it");
        assert!(root.is_root() && root.gid() == 0 && root.groups.contains(&Gid::from_raw(0)));
        assert_eq!(look_up("no-such-account"), None);
    }

    #[test]
    fn an_account_passes_through_a_pipe() {
        let account = Account {
            name: "some body".into(),
            uid: Uid::from_raw(7),
            gid: Gid::from_raw(8),
            groups: vec![Gid::from_raw(8), Gid::from_raw(4_000_000_000)],
        };
        let line = account.encode();
        assert_eq!(Account::decode(&line), Some(account));
        for len in 0..line.len() {
            assert_eq!(Account::decode(&line[..len]), None, "{len} bytes");
        }
    }
}
