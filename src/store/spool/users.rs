//! Registered names, and names claimed by logins: a small file each.
//!
//! `user/3f/bob` has two lines: `registered MILLISECONDS` and `checksum CRC-32` of the first line, in hexadecimal.
//! `user/3f/.bob.claim` records that the name belongs to a login of this machine: `owner UID MILLISECONDS`, with `-` for an
//! unknown UID, and its checksum. Earlier versions wrote `registered MILLISECONDS`.

use std::fs::File;
use std::io;

use super::handle::Spool;
use super::lock::lock;
use super::paths::{Place, for_each_folder, place, place_around};
use super::{bell, presence, set_aside, survey};
use crate::name::Name;
use crate::store::{Owner, StoreError, User};
use crate::sys::clock::unix_millis;
use crate::sys::dir::Dir;
use crate::sys::file;

/// Durably registers `name` at the time `at`, in milliseconds since 1970. Returns `false` if it was registered already.
pub(super) fn register(spool: &Spool, name: &Name, at: u64) -> Result<bool, StoreError> {
    // The lock makes one of several concurrent registrations the first.
    let _lock = lock(&spool.paths, name)?;
    if spool.paths.user_file(&place(name))?.is_some() {
        return Ok(false);
    }
    let folder = spool.paths.user_folder(name)?;
    let path = folder.path_of(name.as_str());
    replace(&folder, name, &encode(at)).map_err(StoreError::system("write", &path))?;
    sync_names(spool, &folder)?;
    Ok(true)
}

fn replace(folder: &Dir, name: &Name, text: &str) -> io::Result<()> {
    // Names never begin with a dot.
    let temporary = format!(".{name}.new");
    let new = folder.file_or_new(&temporary)?;
    file::truncate(&new, 0)?;
    file::write_at(&new, text.as_bytes(), 0)?;
    file::sync(&new)?;
    folder.rename(&temporary, name.as_str())
}

/// Makes the entries of a folder, and the entry of the folder itself, durable.
fn sync_names(spool: &Spool, folder: &Dir) -> Result<(), StoreError> {
    [folder, &spool.paths.users]
        .into_iter()
        .try_for_each(|dir| dir.sync().map_err(StoreError::system("sync", dir.path())))
}

/// Returns when `name` was registered, or `None` if it is not.
///
/// # Errors
/// [`StoreError::Damaged`] if the record is incomplete; I/O errors.
pub(super) fn registered(spool: &Spool, name: &Name) -> Result<Option<u64>, StoreError> {
    let place = place(name);
    let path = spool.paths.users.path_of(&place);
    let Some(file) = spool.paths.user_file(&place)? else {
        return Ok(None);
    };
    match read(&file).map_err(StoreError::system("read", &path))? {
        Some(registered) => Ok(Some(registered)),
        None => Err(StoreError::damaged(path, 0, "it is not a registration")),
    }
}

/// Durably removes the registration of `name`. Returns `false` if there was none.
pub(super) fn deregister(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    if spool.paths.user_file(&place(name))?.is_none() {
        return Ok(false);
    }
    let _lock = lock(&spool.paths, name)?;
    remove(spool, name, name.as_str())
}

/// Durably removes `file` from the folder of `name`. Returns `false` if it does not exist.
fn remove(spool: &Spool, name: &Name, file: &str) -> Result<bool, StoreError> {
    let folder = spool.paths.user_folder(name)?;
    match folder.remove(file).and_then(|()| folder.sync()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StoreError::system("remove", folder.path_of(file))(e)),
    }
}

/// Durably makes the login `uid` the owner of `name`, unless it has an owner. Returns the owner.
///
/// For a name without an owner, ends the presence lease: no login has used the name, so the lease belongs to another
/// client.
/// Wakes the process that watches its mailbox, which then finds that it must stop. Sets aside the messages of earlier
/// users. An incomplete claim is in force, and the next use repeats all of this.
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
    let known = owner(spool, name)?;
    if let Some(owner) = known.filter(is_it) {
        return Ok(owner);
    }
    let since = known.map_or(at, |owner| owner.since);
    let owner = Owner { uid, since };
    if known.is_none() {
        let made = spool.paths.user_folder(name).and_then(|folder| {
            let file = format!(".{name}.claim");
            let made = folder.file_or_new(&file).map(drop);
            made.map_err(|e| StoreError::system("write", folder.path_of(&file))(e))
        });
        made?;
        spool.flags.note_claim();
        presence::end(spool, name)?;
        bell::ring(spool, name);
        if in_open_use(spool, name)? {
            set_aside::set_aside(spool, name)?;
            remove(spool, name, name.as_str())?;
        }
    }
    write_owner(spool, name, owner)?;
    Ok(owner)
}

/// Returns whether clients other than a login have acted as `name`.
pub(super) fn in_open_use(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    Ok(registered(spool, name)?.is_some() || set_aside::was_read(spool, name)?)
}

/// Durably makes `owner` the owner of `name`, without the effects of a claim. Replaces an earlier one.
pub(super) fn restore_claim(spool: &Spool, name: &Name, owner: Owner) -> Result<(), StoreError> {
    let _lock = lock(&spool.paths, name)?;
    write_owner(spool, name, owner)?;
    spool.flags.note_claim();
    Ok(())
}

/// Gives each used name that is a login its uid (`uid_of`) as owner, without setting messages aside, if the configuration
/// reserves it (`reserves`). Gives each owner without a uid that of the login.
pub(super) fn assign_owners(
    spool: &Spool,
    uid_of: impl Fn(&str) -> Option<u32>,
    reserves: impl Fn(&Name) -> bool,
) -> Result<(), StoreError> {
    let mut all = names(spool)?;
    all.extend(survey::mailboxes(spool)?);
    all.extend(claims(spool)?.into_iter().map(|(name, _)| name));
    all.sort_unstable();
    all.dedup();
    for name in all {
        let Some(uid) = uid_of(name.as_str()) else {
            continue;
        };
        let since = match owner(spool, &name)? {
            Some(Owner { uid: Some(_), .. }) => continue,
            Some(owner) => owner.since,
            None if claimed(spool, &name)? || reserves(&name) => unix_millis(),
            None => continue,
        };
        let uid = Some(uid);
        restore_claim(spool, &name, Owner { uid, since })?;
    }
    Ok(())
}

/// Writes a claim. Its directory entry is durable first, so that a complete claim is a durable one.
fn write_owner(spool: &Spool, name: &Name, owner: Owner) -> Result<(), StoreError> {
    let folder = spool.paths.user_folder(name)?;
    let file = format!(".{name}.claim");
    let write = |e| StoreError::system("write", folder.path_of(&file))(e);
    let claim = folder.file_or_new(&file).map_err(write)?;
    sync_names(spool, &folder)?;
    // An earlier record is not longer, and the file is smaller than a sector, so that the write is atomic.
    file::write_at(&claim, encode_owner(owner).as_bytes(), 0)
        .and_then(|()| file::sync(&claim))
        .map_err(write)
}

/// Returns the owner of `name`. `None` if it has none, or its record is incomplete or damaged.
fn owner(spool: &Spool, name: &Name) -> Result<Option<Owner>, StoreError> {
    let place = claim_place(name);
    let Some(file) = spool.paths.user_file(&place)? else {
        return Ok(None);
    };
    let text = read_text(&file);
    let text =
        text.map_err(|e| StoreError::system("read", spool.paths.users.path_of(&place))(e))?;
    Ok(decode_owner(&text))
}

/// Returns whether `name` has an owner record, complete or not.
pub(super) fn claimed(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    let look = || Ok(spool.paths.user_file(&claim_place(name))?.is_some());
    spool.flags.is_claimed(name, look)
}

/// Durably removes the claim of `name`, and sets its messages aside. Returns `false` if there was no claim.
pub(super) fn release(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    if spool.paths.user_file(&claim_place(name))?.is_none() {
        return Ok(false);
    }
    let _lock = lock(&spool.paths, name)?;
    // Before the claim is removed, which opens the name to other clients.
    set_aside::set_aside(spool, name)?;
    remove(spool, name, name.as_str())?;
    presence::end(spool, name)?;
    bell::ring(spool, name);
    remove(spool, name, &format!(".{name}.claim"))
}

fn claim_place(name: &Name) -> Place {
    place_around(".", name, ".claim")
}

/// Returns all registered names, sorted.
pub(super) fn names(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    list(spool, |file| Name::new(file).ok())
}

/// Returns all claims with their owners, sorted by name. An incomplete claim has no user ID, and the time 0.
pub(super) fn claims(spool: &Spool) -> Result<Vec<(Name, Owner)>, StoreError> {
    let names = list(spool, |file| {
        Name::new(file.strip_prefix(b".")?.strip_suffix(b".claim")?).ok()
    })?;
    let incomplete = Owner {
        uid: None,
        since: 0,
    };
    let owner = |name: Name| {
        let owner = owner(spool, &name)?.unwrap_or(incomplete);
        Ok((name, owner))
    };
    names.into_iter().map(owner).collect()
}

/// Returns the names that `name` extracts from the file names in all folders, sorted.
fn list(spool: &Spool, name: impl Fn(&[u8]) -> Option<Name>) -> Result<Vec<Name>, StoreError> {
    let mut all = Vec::new();
    for_each_folder(&spool.paths.users, |_, _, files| {
        all.extend(files.iter().filter_map(|file| name(file)));
        Ok(())
    })?;
    all.sort_unstable();
    Ok(all)
}

/// Returns all registered names with their times, sorted.
///
/// # Errors
/// [`StoreError::Damaged`] if a record is incomplete; I/O errors.
pub(super) fn users(spool: &Spool) -> Result<Vec<User>, StoreError> {
    let mut all = Vec::new();
    for name in names(spool)? {
        // The name may have been deregistered since the listing.
        if let Some(registered) = registered(spool, &name)? {
            all.push(User { name, registered });
        }
    }
    Ok(all)
}

/// Reads the time in a registration. Returns `None` if it is incomplete.
fn read(file: &File) -> io::Result<Option<u64>> {
    Ok(decode(&read_text(file)?))
}

fn read_text(file: &File) -> io::Result<Vec<u8>> {
    let mut text = vec![0; 128];
    let n = file::read_at(file, &mut text, 0)?;
    text.truncate(n);
    Ok(text)
}

fn encode(at: u64) -> String {
    with_checksum(&format!("registered {at}\n"))
}

fn decode(text: &[u8]) -> Option<u64> {
    first_line(text)?.strip_prefix("registered ")?.parse().ok()
}

/// Formats a claim. All have the same length.
fn encode_owner(owner: Owner) -> String {
    let Owner { uid, since } = owner;
    with_checksum(&match uid {
        Some(uid) => format!("owner {uid:010} {since:014}\n"),
        None => format!("owner ---------- {since:014}\n"),
    })
}

/// Parses a claim, also one of an earlier version, which has no user ID.
fn decode_owner(text: &[u8]) -> Option<Owner> {
    let line = first_line(text)?;
    let Some(fields) = line.strip_prefix("owner ") else {
        let since = line.strip_prefix("registered ")?.parse().ok()?;
        return Some(Owner { uid: None, since });
    };
    let (uid, since) = fields.split_once(' ')?;
    let uid = match uid.starts_with('-') {
        true => None,
        false => Some(uid.parse().ok()?),
    };
    let since = since.parse().ok()?;
    Some(Owner { uid, since })
}

fn with_checksum(line: &str) -> String {
    format!("{line}checksum {:08x}\n", crc32fast::hash(line.as_bytes()))
}

/// Returns the first line of a record, without its end. `None` if the record is incomplete or damaged.
fn first_line(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let end = text.find('\n')? + 1;
    (with_checksum(&text[..end]) == text).then(|| &text[..end - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_registration_is_rejected() {
        let text = encode(1_795_300_000_123);
        assert_eq!(decode(text.as_bytes()), Some(1_795_300_000_123));
        for cut in 0..text.len() {
            assert_eq!(decode(&text.as_bytes()[..cut]), None, "{cut}");
        }
        assert_eq!(decode(text.replace("123", "124").as_bytes()), None);
    }

    #[test]
    fn claims_have_one_length_and_those_of_earlier_versions_are_read() {
        let lens = [None, Some(0), Some(u32::MAX)].map(|uid| {
            let owner = Owner {
                uid,
                since: 1_795_300_000_123,
            };
            let text = encode_owner(owner);
            assert_eq!(decode_owner(text.as_bytes()), Some(owner));
            assert_eq!(decode_owner(&text.as_bytes()[1..]), None);
            assert_eq!(decode(text.as_bytes()), None, "not a registration");
            text.len()
        });
        let earlier = encode(1_795_300_000_123);
        assert!(lens == [lens[0]; 3] && earlier.len() < lens[0]);
        let owner = decode_owner(earlier.as_bytes()).expect("a claim");
        assert_eq!((owner.uid, owner.since), (None, 1_795_300_000_123));
    }
}
