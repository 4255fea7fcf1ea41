//! Presence leases: a small file per online name in the run directory, replaced atomically under the lock of the
//! mailbox. Files are not synced, because a crash of the machine ends all leases (format/lease.rs).

use std::io;

use super::budget::Budget;
use super::format::lease::{self, LeaseFile};
use super::handle::Spool;
use super::lock::lock;
use super::sweep;
use crate::name::Name;
use crate::store::{Lease, StoreError};
use crate::sys::dir::Dir;
use crate::sys::file;

/// Takes the lease of `name` if `may_take` agrees, which gets the current one. Returns whether it was taken.
pub(super) fn take(
    spool: &Spool,
    name: &Name,
    lease: &Lease,
    may_take: &dyn Fn(Option<&Lease>) -> bool,
) -> Result<bool, StoreError> {
    let run = spool.paths.run()?;
    sweep::now_and_then(spool);
    let _lock = lock(&spool.paths, name)?;
    let there = look_of(spool, name)?;
    let current = match &there {
        LeaseFile::Current(current) => Some(current),
        LeaseFile::Over | LeaseFile::None => None,
    };
    if !may_take(current) {
        return Ok(false);
    }
    // The replacement of a file needs no check for space.
    let is_new = there == LeaseFile::None;
    if is_new {
        sweep::room(spool, run)?;
        spool.budgets.add(Budget::Leases, 1, &spool.limits)?;
    }
    let replaced = replace(&run.online, name, &lease::encode(lease, &run.boot));
    if is_new && replaced.is_err() {
        spool.budgets.give_back(Budget::Leases, 1);
    }
    let path = run.online.path_of(name.as_str());
    replaced.map_err(StoreError::system("write", path))?;
    Ok(true)
}

/// Returns the lease of `name` if it has not ended.
pub(super) fn lease(spool: &Spool, name: &Name) -> Result<Option<Lease>, StoreError> {
    Ok(match look_of(spool, name)? {
        LeaseFile::Current(lease) => Some(lease),
        LeaseFile::Over => {
            sweep::forget(spool, spool.paths.run()?, name);
            None
        }
        LeaseFile::None => None,
    })
}

/// Ends the lease of `name` if `whose` accepts it. Returns whether it did.
pub(super) fn give_back(
    spool: &Spool,
    name: &Name,
    whose: &dyn Fn(&Lease) -> bool,
) -> Result<bool, StoreError> {
    let run = spool.paths.run()?;
    if look_of(spool, name)? == LeaseFile::None {
        return Ok(false);
    }
    let _lock = lock(&spool.paths, name)?;
    let ours = match look_of(spool, name)? {
        LeaseFile::Current(lease) => whose(&lease),
        LeaseFile::Over => false,
        LeaseFile::None => return Ok(false),
    };
    if !ours {
        return Ok(false);
    }
    run.online
        .remove(name.as_str())
        .map_err(StoreError::system(
            "remove",
            run.online.path_of(name.as_str()),
        ))?;
    spool.budgets.give_back(Budget::Leases, 1);
    Ok(true)
}

fn look_of(spool: &Spool, name: &Name) -> Result<LeaseFile, StoreError> {
    let run = spool.paths.run()?;
    run.lease_file(name.as_str()).map_err(StoreError::system(
        "read",
        run.online.path_of(name.as_str()),
    ))
}

/// Ends the lease of `name`, no matter which client has it. The lock of the mailbox must be held.
///
/// # Errors
/// Errors from `unlinkat(2)`, except ENOENT.
pub(super) fn end(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    // Without a run directory no daemon uses the spool, and no client is online.
    let Ok(run) = spool.paths.run() else {
        return Ok(());
    };
    match run.online.remove(name.as_str()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::system(
            "remove",
            run.online.path_of(name.as_str()),
        )(e)),
        _ => Ok(()),
    }
}

fn replace(dir: &Dir, name: &Name, text: &str) -> io::Result<()> {
    // Names never begin with a dot.
    let temporary = format!(".{name}.new");
    let write = || {
        let new = dir.file_or_new(&temporary)?;
        file::truncate(&new, 0)?;
        file::write_at(&new, text.as_bytes(), 0)?;
        dir.rename(&temporary, name.as_str())
    };
    write().inspect_err(|_| {
        // Do not leave it behind on a full disk.
        let _ = dir.remove(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{LeaseToken, Speaks};
    use crate::store::spool::paths::Run;
    use crate::sys::clock::boot_millis;

    #[test]
    fn ended_and_incomplete_leases_are_swept() {
        let temp = tempfile::tempdir().expect("a directory");
        let open = || Dir::open(temp.path()).expect("a directory");
        let run = |boot: &str| Run {
            online: open(),
            watch: open(),
            boot: boot.into(),
        };
        let a_lease = Lease {
            address: Some("[::1]:8283".parse().expect("an address")),
            speaks: Speaks::Sealed,
            by: "10.0.0.1".parse().expect("an address"),
            token: LeaseToken([7; 8]),
            secret: None,
            since: 1_795_300_000_123,
            until: boot_millis() + 60_000,
        };
        let bob: Name = "bob".parse().expect("a name");
        replace(&open(), &bob, &lease::encode(&a_lease, "b1")).expect("written");
        std::fs::write(temp.path().join(".al.new"), "lease").expect("written");
        sweep::all(&run("b1")).expect("swept");
        assert_eq!(open().names().expect("readable"), [b"bob"]);
        sweep::all(&run("b2")).expect("swept");
        assert_eq!(open().names().expect("readable"), [[0_u8; 0]; 0]);
    }
}
