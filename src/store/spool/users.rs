//! Registered names, and names claimed by logins: a small file each.
//!
//! `user/3f/bob` has two lines: `registered MILLISECONDS` and `checksum CRC-32` of the first line, in hexadecimal.
//! `user/3f/.bob.claim` has the same format, and records that the name belongs to a login of this machine.

use std::fs::File;
use std::io;

use super::handle::Spool;
use super::lock::lock;
use super::paths::{Place, for_each_folder, place, place_around};
use super::{bell, presence};
use crate::name::Name;
use crate::store::{StoreError, User};
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

/// Durably records that `name` belongs to a login of this machine.
///
/// Ends the presence lease of the name: this is the first use by the login, so the lease belongs to another client.
/// Wakes the process that watches its mailbox, which then finds that it must stop. An incomplete claim is in force, and
/// the next use repeats all of this.
pub(super) fn claim(spool: &Spool, name: &Name, at: u64) -> Result<(), StoreError> {
    let place = claim_place(name);
    let path = spool.paths.users.path_of(&place);
    let write = |e| StoreError::system("write", &path)(e);
    // An incomplete claim may lack a durable directory entry.
    let is_made = || {
        let file = spool.paths.user_file(&place)?;
        let claim = file.map_or(Ok(None), |file| read(&file)).map_err(write)?;
        Ok::<_, StoreError>(claim.is_some())
    };
    // Usually the claim exists and is durable.
    if is_made()? {
        return Ok(());
    }
    let _lock = lock(&spool.paths, name)?;
    if is_made()? {
        return Ok(());
    }
    let folder = spool.paths.user_folder(name)?;
    let claim = spool.paths.users.file_or_new(&place).map_err(write)?;
    spool.flags.note_claim();
    presence::end(spool, name)?;
    bell::ring(spool, name);
    file::write_at(&claim, encode(at).as_bytes(), 0)
        .and_then(|()| file::sync(&claim))
        .map_err(write)?;
    sync_names(spool, &folder)
}

/// Returns whether `name` belongs to a login of this machine.
pub(super) fn claimed(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    let look = || Ok(spool.paths.user_file(&claim_place(name))?.is_some());
    spool.flags.is_claimed(name, look)
}

/// Durably removes the claim of `name`. Returns `false` if there was none.
pub(super) fn release(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    if spool.paths.user_file(&claim_place(name))?.is_none() {
        return Ok(false);
    }
    remove(spool, name, &format!(".{name}.claim"))
}

fn claim_place(name: &Name) -> Place {
    place_around(".", name, ".claim")
}

/// Returns all registered names, sorted.
pub(super) fn names(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    list(spool, |file| Name::new(file).ok())
}

/// Returns all claims with their times, sorted by name. The time of an incomplete claim is 0.
pub(super) fn claims(spool: &Spool) -> Result<Vec<(Name, u64)>, StoreError> {
    let names = list(spool, |file| {
        Name::new(file.strip_prefix(b".")?.strip_suffix(b".claim")?).ok()
    })?;
    let mut all = Vec::new();
    for name in names {
        let place = claim_place(&name);
        if let Some(file) = spool.paths.user_file(&place)? {
            let path = spool.paths.users.path_of(&place);
            let at = read(&file).map_err(StoreError::system("read", path))?;
            all.push((name, at.unwrap_or(0)));
        }
    }
    Ok(all)
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

/// Reads the time in a record. Returns `None` if the record is incomplete.
fn read(file: &File) -> io::Result<Option<u64>> {
    let mut text = [0; 128];
    let n = file::read_at(file, &mut text, 0)?;
    Ok(decode(&text[..n]))
}

fn encode(at: u64) -> String {
    let line = format!("registered {at}\n");
    let sum = crc32fast::hash(line.as_bytes());
    format!("{line}checksum {sum:08x}\n")
}

fn decode(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let at = text
        .lines()
        .next()?
        .strip_prefix("registered ")?
        .parse()
        .ok()?;
    (encode(at) == text).then_some(at)
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
}
