//! Registered names: a small file each, `user/3f/bob` (format/user.rs).

use super::budget::Budget;
use super::format::user;
use super::handle::Spool;
use super::lock::lock;
use super::paths::place;
use super::user_files::{self, has_owner_record};
use super::{names, used};
use crate::name::Name;
use crate::store::{Finding, StoreError};
use crate::sys::file;

/// A registration that is this much older is durable, in milliseconds.
const SURELY_DURABLE: u64 = 60_000;

/// Durably registers `name` at the time `at`, in milliseconds since 1970, if `may` agrees. Returns `false` if it does
/// not, or if the name was registered already.
pub(super) fn register(
    spool: &Spool,
    name: &Name,
    at: u64,
    may: &dyn Fn() -> bool,
) -> Result<bool, StoreError> {
    if let Some(known) = user_files::registration(spool, name)? {
        make_durable(spool, name, &known, at)?;
        return Ok(false);
    }
    if !may() {
        return Ok(false);
    }
    spool.budgets.add(Budget::Names, 1, &spool.limits)?;
    let is_new = register_new(spool, name, at, may);
    if !matches!(is_new, Ok(true)) {
        spool.budgets.give_back(Budget::Names, 1);
    }
    is_new
}

/// Registers a name that was not registered before.
fn register_new(
    spool: &Spool,
    name: &Name,
    at: u64,
    may: &dyn Fn() -> bool,
) -> Result<bool, StoreError> {
    // What waits for the disk is done without the lock, because other names share it.
    names::registering(spool, name)?;
    let begun = user_files::begin_durably(spool, name, name.as_str())?;
    let lock = lock(&spool.paths, name)?;
    // The lock makes one of several concurrent registrations the first, and keeps a claim out.
    if let Some(known) = user_files::registration(spool, name)? {
        drop(lock);
        make_durable(spool, name, &known, at)?;
        return Ok(false);
    }
    if !may() {
        return Ok(false);
    }
    let text = user::encode_registration(at);
    if begun.is_in_place()? {
        begun.write(&text)?;
        drop(lock);
        begun.sync()?;
    } else {
        user_files::write(spool, name, name.as_str(), &text)?;
    }
    Ok(true)
}

/// Makes the registration of `name` durable if it is so recent that another process may still be about to do that.
fn make_durable(spool: &Spool, name: &Name, text: &[u8], now: u64) -> Result<(), StoreError> {
    let since = user::decode_registration(text);
    if since.is_none_or(|since| since.abs_diff(now) > SURELY_DURABLE) {
        return Ok(());
    }
    let place = place(name);
    match spool.paths.user_file(&place)? {
        None => Ok(()),
        Some(file) => {
            let path = spool.paths.users.path_of(&place);
            file::sync(&file).map_err(StoreError::system("sync", path))
        }
    }
}

/// Durably removes the registration of `name`, if there is one. The lock of the mailbox must be held.
///
/// # Errors
/// Errors from `unlinkat(2)` and `fsync(2)`.
pub(super) fn remove(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    if spool.paths.user_file(&place(name))?.is_some() {
        names::removing(spool, name)?;
    }
    user_files::remove(spool, name, name.as_str())
}

/// Returns whether `name` has a registration, sound or damaged.
pub(super) fn is_registered(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    Ok(user_files::registration(spool, name)?.is_some())
}

/// Durably removes the registration of `name`, and records in the mailbox that clients have used it. Returns `false` if
/// there was none.
pub(super) fn deregister(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    if spool.paths.user_file(&place(name))?.is_none() {
        return Ok(false);
    }
    let _lock = lock(&spool.paths, name)?;
    if !has_owner_record(spool, name)? {
        // The registration shows that clients other than a later owner have used the name.
        used::note_use(spool, name)?;
    }
    let was_registered = remove(spool, name)?;
    if was_registered {
        spool.budgets.give_back(Budget::Names, 1);
    }
    Ok(was_registered)
}

/// Reports damaged registrations.
pub(super) fn check(spool: &Spool) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for name in user_files::registered_names(spool)? {
        match user_files::registered(spool, &name) {
            Err(StoreError::Damaged {
                place,
                offset,
                what,
            }) => findings.push(Finding {
                place,
                offset,
                what: what.into(),
            }),
            registered => drop(registered?),
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Limits, Users as _};

    #[test]
    fn a_registration_that_was_interrupted_can_be_repeated() {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = Spool::open(&dir.path().join("spool"), Limits::default()).expect("a spool");
        let bob: Name = "bob".parse().expect("a name");
        // The directory entry is there, and its sync has failed.
        user_files::begin(&spool, &bob, "bob").expect("made");
        assert_eq!(spool.registered(&bob).expect("readable"), None);
        assert!(
            spool.register(&bob, 7, &|| true).expect("written"),
            "it is not known"
        );
        assert_eq!(spool.registered(&bob).expect("readable"), Some(7));
        assert!(!spool.register(&bob, 8, &|| true).expect("known"));
    }
}
