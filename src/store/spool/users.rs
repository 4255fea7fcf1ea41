//! Registered names: a small file each, `user/3f/bob` (format/user.rs).

use super::budget::Budget;
use super::format::user;
use super::handle::Spool;
use super::lock::lock;
use super::paths::place;
use super::used;
use super::user_files::{self, has_owner_record};
use crate::name::Name;
use crate::store::{Finding, StoreError};

/// Why a registration does not count.
const DAMAGED: &str = "it is not a registration; remove the file to register the name again";

/// Durably registers `name` at the time `at`, in milliseconds since 1970, if `may` agrees. Returns `false` if it does
/// not, or if the name was registered already.
pub(super) fn register(
    spool: &Spool,
    name: &Name,
    at: u64,
    may: &dyn Fn() -> bool,
) -> Result<bool, StoreError> {
    // The lock makes one of several concurrent registrations the first, and keeps a claim out.
    let _lock = lock(&spool.paths, name)?;
    if !may() || contents(spool, name)?.is_some() {
        return Ok(false);
    }
    let text = user::encode_registration(at);
    spool.budgets.add(Budget::Names, 1, &spool.limits)?;
    user_files::write(spool, name, name.as_str(), &text)?;
    Ok(true)
}

/// Returns when `name` was registered, or `None` if it is not.
///
/// # Errors
/// [`StoreError::Damaged`] if the record is damaged; I/O errors.
pub(super) fn registered(spool: &Spool, name: &Name) -> Result<Option<u64>, StoreError> {
    let Some(text) = contents(spool, name)? else {
        return Ok(None);
    };
    match user::decode_registration(&text) {
        Some(registered) => Ok(Some(registered)),
        None => {
            let path = spool.paths.users.path_of(&place(name));
            Err(StoreError::damaged(path, 0, DAMAGED))
        }
    }
}

/// Returns whether `name` has a registration, sound or damaged.
pub(super) fn is_registered(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    Ok(contents(spool, name)?.is_some())
}

/// Reads the registration of `name`; `None` if there is none, or its first write was interrupted.
fn contents(spool: &Spool, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
    let text = user_files::read(spool, &place(name))?;
    Ok(text.filter(|text| !user::is_unwritten(text)))
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
    let was_registered = user_files::remove(spool, name, name.as_str())?;
    if was_registered {
        spool.budgets.give_back(Budget::Names, 1);
    }
    Ok(was_registered)
}

/// Returns all registered names, sorted.
pub(super) fn names(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    user_files::list(spool, |file| Name::new(file).ok())
}

/// Reports damaged registrations.
pub(super) fn check(spool: &Spool) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for name in names(spool)? {
        match registered(spool, &name) {
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
