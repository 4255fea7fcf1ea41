//! Names that are registered, and names that belong to a login: a small file each, replaced as a whole.
//!
//! `user/3f/bob` is two lines: `registered MILLISECONDS` and `checksum CRC-32` of the first line, in
//! hexadecimal. `user/3f/.bob.claim`, of the same form, says that the name belongs to a login of this machine.

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

/// Registers `name`, durably; `false` when it was registered already.
///
/// # Errors
/// Those of the system.
pub(super) fn register(spool: &Spool, name: &Name, at: u64) -> Result<bool, StoreError> {
    // Of several processes that register one name at once, one is the first.
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
    // No name begins with a dot.
    let temporary = format!(".{name}.new");
    let new = folder.file_or_new(&temporary)?;
    file::truncate(&new, 0)?;
    file::write_at(&new, text.as_bytes(), 0)?;
    file::sync(&new)?;
    folder.rename(&temporary, name.as_str())
}

/// Waits until the names in a folder, and that of the folder, are on the disk.
fn sync_names(spool: &Spool, folder: &Dir) -> Result<(), StoreError> {
    [folder, &spool.paths.users]
        .into_iter()
        .try_for_each(|dir| dir.sync().map_err(StoreError::system("sync", dir.path())))
}

/// Since when `name` is registered; `None` when it is not.
///
/// # Errors
/// [`StoreError::Damaged`] for a record that is not whole; those of the system.
pub(super) fn registered(spool: &Spool, name: &Name) -> Result<Option<u64>, StoreError> {
    let place = place(name);
    let path = spool.paths.users.path_of(&place);
    let Some(file) = spool.paths.user_file(&place)? else {
        return Ok(None);
    };
    match read(&file).map_err(StoreError::system("read", &path))? {
        Some(registered) => Ok(Some(registered)),
        None => Err(StoreError::damaged(path, 0, "it is no registration")),
    }
}

/// Forgets `name`, durably; `false` when it was not registered.
///
/// # Errors
/// Those of the system.
pub(super) fn deregister(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    if spool.paths.user_file(&place(name))?.is_none() {
        return Ok(false);
    }
    let _lock = lock(&spool.paths, name)?;
    remove(spool, name, name.as_str())
}

/// Removes `file` from the folder of `name`, durably; `false` when there was none.
fn remove(spool: &Spool, name: &Name, file: &str) -> Result<bool, StoreError> {
    let folder = spool.paths.user_folder(name)?;
    match folder.remove(file).and_then(|()| folder.sync()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StoreError::system("remove", folder.path_of(file))(e)),
    }
}

/// Notes that `name` belongs to a login of this machine, durably.
///
/// A client that was online with the name before is so no more: it cannot have been the login, whose first use this is.
/// The process that watches its mailbox is woken, to see that it may not go on. A claim that is not whole counts already,
/// and is made again by the next use, so that nothing of this is left undone.
///
/// # Errors
/// Those of the system.
pub(super) fn claim(spool: &Spool, name: &Name, at: u64) -> Result<(), StoreError> {
    let place = claim_place(name);
    let path = spool.paths.users.path_of(&place);
    let write = |e| StoreError::system("write", &path)(e);
    // A claim that was cut off while it was written may not have its name on the disk.
    let is_made = || {
        let file = spool.paths.user_file(&place)?;
        let claim = file.map_or(Ok(None), |file| read(&file)).map_err(write)?;
        Ok::<_, StoreError>(claim.is_some())
    };
    // Mostly it is there, and durable.
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

/// Whether `name` belongs to a login of this machine.
///
/// # Errors
/// Those of the system.
pub(super) fn claimed(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    let look = || Ok(spool.paths.user_file(&claim_place(name))?.is_some());
    spool.flags.is_claimed(name, look)
}

/// Ends a claim; `false` when there was none.
///
/// # Errors
/// Those of the system.
pub(super) fn release(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    if spool.paths.user_file(&claim_place(name))?.is_none() {
        return Ok(false);
    }
    remove(spool, name, &format!(".{name}.claim"))
}

fn claim_place(name: &Name) -> Place {
    place_around(".", name, ".claim")
}

/// All names that are registered, sorted.
///
/// # Errors
/// Those of the system.
pub(super) fn names(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    list(spool, |file| Name::new(file).ok())
}

/// All claims, sorted by name, and since when. One that is not whole is of 1970.
///
/// # Errors
/// Those of the system.
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

/// The names in all folders that `name` finds in the names of files, sorted.
fn list(spool: &Spool, name: impl Fn(&[u8]) -> Option<Name>) -> Result<Vec<Name>, StoreError> {
    let mut all = Vec::new();
    for_each_folder(&spool.paths.users, |_, _, files| {
        all.extend(files.iter().filter_map(|file| name(file)));
        Ok(())
    })?;
    all.sort_unstable();
    Ok(all)
}

/// All registered names, sorted, and since when.
///
/// # Errors
/// [`StoreError::Damaged`] for a record that is not whole; those of the system.
pub(super) fn users(spool: &Spool) -> Result<Vec<User>, StoreError> {
    let mut all = Vec::new();
    for name in names(spool)? {
        // It may have been deregistered meanwhile.
        if let Some(registered) = registered(spool, &name)? {
            all.push(User { name, registered });
        }
    }
    Ok(all)
}

/// The time in a record; `None` when it is not whole.
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
    fn a_registration_is_whole_or_none() {
        let text = encode(1_795_300_000_123);
        assert_eq!(decode(text.as_bytes()), Some(1_795_300_000_123));
        for cut in 0..text.len() {
            assert_eq!(decode(&text.as_bytes()[..cut]), None, "{cut}");
        }
        assert_eq!(decode(text.replace("123", "124").as_bytes()), None);
    }
}
