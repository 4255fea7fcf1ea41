//! The owners of names: logins of this machine. The file `user/3f/.bob.claim` records the owner of bob (format/user.rs).

use super::format::user::{self, encode_owner};
use super::handle::Spool;
use super::lock::lock;
use super::user_files::{self, owner_file, owner_place, owner_record};
use super::{bell, presence, set_aside, survey, used, users};
use crate::name::Name;
use crate::store::{Finding, FormerOwner, Owner, OwnerRecord, StoreError};
use crate::sys::clock::unix_millis;
use crate::sys::login;

/// Why the owner of a name is not known.
const DAMAGED: &str = "it is not an owner record, and the name is closed to all clients; name its owner with \
                       `droplinectl owner NAME --uid N`, or end the ownership with `droplinectl release NAME`";

/// Durably makes the login `uid` the owner of `name`, unless it has an owner. Returns the owner.
///
/// An incomplete claim is in force, and the next use completes it.
///
/// # Errors
/// [`StoreError::Damaged`] if the owner record is damaged; I/O errors.
pub(super) fn claim(
    spool: &Spool,
    name: &Name,
    uid: Option<u32>,
    at: u64,
) -> Result<Owner, StoreError> {
    let is_it = |owner: &Owner| owner.uid.is_some() || uid.is_none();
    // Usually the claim exists and is durable.
    if let Some(owner) = owner(spool, name)?.filter(is_it) {
        return Ok(owner);
    }
    let _lock = lock(&spool.paths, name)?;
    let since = match owner(spool, name)? {
        Some(owner) if is_it(&owner) => return Ok(owner),
        Some(owner) => owner.since,
        None => {
            end_open_use(spool, name)?;
            at
        }
    };
    let owner = new_owner(name, uid, since);
    write(spool, name, owner)?;
    Ok(owner)
}

fn new_owner(name: &Name, uid: Option<u32>, since: u64) -> Owner {
    // Without an answer, `droplinectl release --gone` does not release the name.
    let in_files = login::uid_in_files(name.as_str()).ok().flatten();
    Owner {
        uid,
        since,
        in_files: uid.is_some() && in_files == uid,
    }
}

/// Closes `name` to clients other than its owner, and ends their use of it: ends the presence lease, wakes the process
/// that watches the mailbox, which then finds that it must stop, and sets aside the messages of a mailbox that they have
/// used. The lock of the mailbox must be held. Can be repeated after an interruption at any point.
fn end_open_use(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    user_files::begin(spool, name, &owner_file(name))?;
    spool.flags.note_claim();
    presence::end(spool, name)?;
    bell::ring(spool, name);
    let registered = users::is_registered(spool, name)?;
    if registered {
        // A durable mark in the mailbox takes the place of the registration. set_aside() replaces the mailbox, and the
        // mark with it, in one step.
        used::note_use(spool, name)?;
    }
    users::remove(spool, name)?;
    // Before the upgrade of an earlier format is complete, it is not known whether the owner itself has used the
    // mailbox.
    if spool.is_upgraded && (registered || used::was_used(spool, name)?) {
        return set_aside::set_aside(spool, name, FormerOwner::None);
    }
    if spool.paths.mailbox(name)?.is_some() {
        // An interrupted claim may have set the messages aside, and not made that durable.
        spool.sync_name(name)?;
    }
    Ok(())
}

/// Returns whether clients other than its owner have acted as `name`.
pub(super) fn in_open_use(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    Ok(users::is_registered(spool, name)? || used::was_used(spool, name)?)
}

/// Durably gives `name` this owner record, without the effects of a claim. A complete record with a uid stays.
pub(super) fn restore_claim(
    spool: &Spool,
    name: &Name,
    record: OwnerRecord,
) -> Result<(), StoreError> {
    let _lock = lock(&spool.paths, name)?;
    if owner_record(spool, name)?.uid().is_some() {
        return Ok(());
    }
    match record {
        OwnerRecord::None => return Ok(()),
        OwnerRecord::Incomplete => user_files::write(spool, name, &owner_file(name), "")?,
        OwnerRecord::Complete(owner) => write(spool, name, owner)?,
        OwnerRecord::Damaged => {
            user_files::write(spool, name, &owner_file(name), user::DAMAGED)?;
        }
    }
    spool.flags.note_claim();
    Ok(())
}

/// Durably makes the login `uid` the owner of `name`, which has an owner record, in place of the recorded one. Returns
/// `false` if it has none. The sessions and the presence of another uid end.
pub(super) fn assign(spool: &Spool, name: &Name, uid: u32) -> Result<bool, StoreError> {
    if spool.paths.user_file(&owner_place(name))?.is_none() {
        return Ok(false);
    }
    let _lock = lock(&spool.paths, name)?;
    let earlier = match owner_record(spool, name)? {
        OwnerRecord::None => return Ok(false),
        OwnerRecord::Incomplete => {
            end_open_use(spool, name)?;
            None
        }
        OwnerRecord::Complete(owner) => Some(owner),
        OwnerRecord::Damaged => None,
    };
    let since = earlier.map_or_else(unix_millis, |owner| owner.since);
    write(spool, name, new_owner(name, Some(uid), since))?;
    if earlier.and_then(|owner| owner.uid) != Some(uid) {
        presence::end(spool, name)?;
        bell::ring(spool, name);
    }
    Ok(true)
}

/// Gives each used or recorded name that is a login its uid (`uid_of`) as owner, without setting messages aside, unless
/// it has an owner with a uid. A name without an owner record gets one only if the configuration reserves it
/// (`reserves`).
pub(super) fn assign_owners(
    spool: &Spool,
    uid_of: impl Fn(&str) -> Option<u32>,
    reserves: impl Fn(&Name) -> bool,
) -> Result<(), StoreError> {
    let mut all = user_files::registered_names(spool)?;
    all.extend(survey::mailboxes(spool)?);
    all.extend(recorded(spool)?);
    all.sort_unstable();
    all.dedup();
    for name in all {
        let since = match owner_record(spool, &name)? {
            OwnerRecord::Damaged | OwnerRecord::Complete(Owner { uid: Some(_), .. }) => continue,
            OwnerRecord::Complete(owner) => owner.since,
            OwnerRecord::None if !reserves(&name) => continue,
            OwnerRecord::None | OwnerRecord::Incomplete => unix_millis(),
        };
        if let Some(uid) = uid_of(name.as_str()) {
            let owner = new_owner(&name, Some(uid), since);
            restore_claim(spool, &name, OwnerRecord::Complete(owner))?;
        }
    }
    Ok(())
}

fn write(spool: &Spool, name: &Name, owner: Owner) -> Result<(), StoreError> {
    user_files::write(spool, name, &owner_file(name), &encode_owner(owner))
}

/// Returns the owner of `name`. `None` if it has none, or its record is incomplete.
///
/// # Errors
/// [`StoreError::Damaged`] if the record is damaged; I/O errors.
pub(super) fn owner(spool: &Spool, name: &Name) -> Result<Option<Owner>, StoreError> {
    match owner_record(spool, name)? {
        OwnerRecord::None | OwnerRecord::Incomplete => Ok(None),
        OwnerRecord::Complete(owner) => Ok(Some(owner)),
        OwnerRecord::Damaged => {
            let path = spool.paths.users.path_of(&owner_place(name));
            Err(StoreError::damaged(path, 0, DAMAGED))
        }
    }
}

/// Durably removes the owner of `name`, and sets its messages aside. Returns `false` if it had none, or not the login
/// `uid` if one is given. The sessions and the presence of the owner end.
pub(super) fn release(spool: &Spool, name: &Name, uid: Option<u32>) -> Result<bool, StoreError> {
    if spool.paths.user_file(&owner_place(name))?.is_none() {
        return Ok(false);
    }
    let _lock = lock(&spool.paths, name)?;
    let former = match owner_record(spool, name)? {
        OwnerRecord::None => return Ok(false),
        OwnerRecord::Incomplete => FormerOwner::None,
        OwnerRecord::Complete(Owner { uid: Some(uid), .. }) => FormerOwner::Login(uid),
        OwnerRecord::Complete(Owner { uid: None, .. }) | OwnerRecord::Damaged => {
            FormerOwner::Unknown
        }
    };
    if uid.is_some_and(|uid| former != FormerOwner::Login(uid)) {
        return Ok(false);
    }
    // Before the record is removed, which opens the name to other clients.
    set_aside::set_aside(spool, name, former)?;
    users::remove(spool, name)?;
    let removed = user_files::remove(spool, name, &owner_file(name))?;
    // After that: a session that looks at the record from now on finds that it must stop.
    presence::end(spool, name)?;
    bell::ring(spool, name);
    Ok(removed)
}

/// Returns all names with an owner record, and their records, sorted by name.
pub(super) fn claims(spool: &Spool) -> Result<Vec<(Name, OwnerRecord)>, StoreError> {
    let mut all = Vec::new();
    for name in recorded(spool)? {
        match owner_record(spool, &name)? {
            // It was removed after the listing.
            OwnerRecord::None => {}
            record => all.push((name, record)),
        }
    }
    Ok(all)
}

/// Returns all names with an owner record, sorted.
fn recorded(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    user_files::list(spool, user_files::owner_of_file)
}

/// Reports damaged owner records.
pub(super) fn check(spool: &Spool) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for name in recorded(spool)? {
        if owner_record(spool, &name)? == OwnerRecord::Damaged {
            let place = spool.paths.users.path_of(&owner_place(&name));
            findings.push(Finding {
                place: place.display().to_string(),
                offset: 0,
                what: DAMAGED.replace("NAME", name.as_str()),
            });
        }
    }
    Ok(findings)
}
