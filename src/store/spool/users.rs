//! Who is registered: a small file each, replaced as a whole.
//!
//! `user/3f/bob` is two lines: `registered MILLISECONDS` and `checksum CRC-32` of the first line, in
//! hexadecimal. Beside it, `user/3f/.bob.claim`, of the same form, says that the name belongs to a login of this machine.

use std::io;

use super::append::lock;
use super::bell;
use super::layout::{Place, Spool};
use crate::name::Name;
use crate::store::{StoreError, User};
use crate::sys::dir::Dir;
use crate::sys::file;

/// Registers `name`, durably; `false` when it was registered already.
///
/// # Errors
/// Those of the system.
pub(super) fn register(spool: &Spool, name: &Name, at: u64) -> Result<bool, StoreError> {
    let folder = folder(spool, name)?;
    let path = folder.path_of(name.as_str());
    // Of several that register one name at once, one is the first.
    let _lock = lock(spool, name)?;
    let known = folder.file(name.as_str());
    if known.map_err(StoreError::system("open", &path))?.is_some() {
        return Ok(false);
    }
    replace(&folder, name, &encode(at)).map_err(StoreError::system("write", &path))?;
    Ok(true)
}

fn replace(folder: &Dir, name: &Name, text: &str) -> io::Result<()> {
    // No name begins with a dot.
    let temporary = format!(".{name}.new");
    let new = folder.file_or_new(&temporary)?;
    file::truncate(&new, 0)?;
    file::write_at(&new, text.as_bytes(), 0)?;
    file::sync(&new)?;
    folder.rename(&temporary, name.as_str())?;
    folder.sync()
}

/// Since when `name` is registered; `None` when it is not.
///
/// # Errors
/// [`StoreError::Damaged`] for a record that is not whole; those of the system.
pub(super) fn registered(spool: &Spool, name: &Name) -> Result<Option<u64>, StoreError> {
    let user = read(&folder(spool, name)?, name.clone())?;
    Ok(user.map(|user| user.registered))
}

/// Forgets `name`, durably; `false` when it was not registered.
///
/// # Errors
/// Those of the system.
pub(super) fn deregister(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    let folder = folder(spool, name)?;
    let _lock = lock(spool, name)?;
    match folder.remove(name.as_str()).and_then(|()| folder.sync()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StoreError::system("remove", folder.path_of(name.as_str()))(
            e,
        )),
    }
}

/// Notes that `name` belongs to a login of this machine, durably.
///
/// Whoever was online with the name before is so no more: that cannot have been its login, whose first use this
/// is. Whoever watches its mailbox is woken, to see that it may not go on. A claim that is not whole counts
/// already, and is made again by the next use, so that nothing of this is left undone.
///
/// # Errors
/// Those of the system.
pub(super) fn claim(spool: &Spool, name: &Name, at: u64) -> Result<(), StoreError> {
    let users = spool.user_dir();
    let place = claim_place(name);
    let write = |e| StoreError::system("write", users.path_of(&place))(e);
    let is_made = || {
        Ok(users
            .file(&place)
            .map_err(write)?
            .is_some_and(|file| is_whole(&file)))
    };
    // Mostly it is there, and durable.
    if is_made()? {
        return Ok(());
    }
    let _lock = lock(spool, name)?;
    if is_made()? {
        return Ok(());
    }
    let claim = users.file_or_new(&place).map_err(write)?;
    spool.hints.has_claimed();
    end_lease(spool, name)?;
    bell::ring(spool, name);
    file::write_at(&claim, encode(at).as_bytes(), 0)
        .and_then(|()| file::sync(&claim))
        .map_err(write)?;
    let folder = folder(spool, name)?;
    folder.sync().map_err(write)
}

/// Ends the lease of `name`, whoever has it. The lock of the mailbox is held.
fn end_lease(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    // Nobody is online in a spool that no daemon works on.
    let Ok(run) = spool.run() else { return Ok(()) };
    match run.online.remove(name.as_str()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::system(
            "remove",
            run.online.path_of(name.as_str()),
        )(e)),
        _ => Ok(()),
    }
}

/// A claim that was cut off while it was written may not have its name on the disk.
fn is_whole(file: &std::fs::File) -> bool {
    let mut text = [0; 128];
    let n = file::read_at(file, &mut text, 0).unwrap_or(0);
    decode(&text[..n]).is_some()
}

/// Whether `name` belongs to a login of this machine.
///
/// # Errors
/// Those of the system.
pub(super) fn claimed(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    let users = spool.user_dir();
    spool.hints.is_claimed(name, || {
        let place = claim_place(name);
        let found = users.file(&place);
        let found = found.map_err(|e| StoreError::system("read", users.path_of(&place))(e))?;
        Ok(found.is_some())
    })
}

/// Ends a claim; `false` when there was none.
///
/// # Errors
/// Those of the system.
pub(super) fn release(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    let folder = folder(spool, name)?;
    let file = format!(".{name}.claim");
    match folder.remove(&file).and_then(|()| folder.sync()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StoreError::system("remove", folder.path_of(&file))(e)),
    }
}

fn claim_place(name: &Name) -> Place {
    let mut place = Place::new();
    for part in [&Spool::folder_name(name), "/.", name.as_str(), ".claim"] {
        place.push_str(part);
    }
    place
}

/// All names that are registered, sorted.
///
/// # Errors
/// Those of the system.
pub(super) fn names(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    list(spool, |file| Name::new(file).ok())
}

/// All claims, sorted by name.
///
/// # Errors
/// Those of the system.
pub(super) fn claims(spool: &Spool) -> Result<Vec<(Name, u64)>, StoreError> {
    let names = list(spool, |file| {
        Name::new(file.strip_prefix(b".")?.strip_suffix(b".claim")?).ok()
    })?;
    let users = spool.user_dir();
    let mut all = Vec::new();
    for name in names {
        let place = claim_place(&name);
        let read = |e| StoreError::system("read", users.path_of(&place))(e);
        if let Some(file) = users.file(&place).map_err(read)? {
            let mut text = [0; 128];
            let n = file::read_at(&file, &mut text, 0).map_err(read)?;
            all.push((name, decode(&text[..n]).unwrap_or(0)));
        }
    }
    Ok(all)
}

/// The names in all folders that `name` finds in the names of files.
fn list(spool: &Spool, name: impl Fn(&[u8]) -> Option<Name>) -> Result<Vec<Name>, StoreError> {
    let root = spool.user_dir();
    let mut all = Vec::new();
    for sub in root
        .names()
        .map_err(StoreError::system("read", root.path()))?
    {
        let sub = String::from_utf8_lossy(&sub).into_owned();
        let files = root.sub(&sub).and_then(|folder| folder.names());
        let files = files.map_err(StoreError::system("read", root.path_of(&sub)))?;
        all.extend(files.iter().filter_map(|file| name(file)));
    }
    all.sort_unstable();
    Ok(all)
}

/// All who are registered, sorted by name.
///
/// # Errors
/// [`StoreError::Damaged`] for a record that is not whole; those of the system.
pub(super) fn users(spool: &Spool) -> Result<Vec<User>, StoreError> {
    let mut all = Vec::new();
    for name in names(spool)? {
        all.extend(read(&folder(spool, &name)?, name)?);
    }
    Ok(all)
}

/// `None` when it was deregistered meanwhile.
fn read(folder: &Dir, name: Name) -> Result<Option<User>, StoreError> {
    let path = folder.path_of(name.as_str());
    let read = |e| StoreError::system("read", &path)(e);
    let Some(file) = folder.file(name.as_str()).map_err(read)? else {
        return Ok(None);
    };
    let mut text = [0; 128];
    let n = file::read_at(&file, &mut text, 0).map_err(read)?;
    match decode(&text[..n]) {
        Some(registered) => Ok(Some(User { name, registered })),
        None => Err(StoreError::Damaged {
            path,
            offset: 0,
            what: "it is no registration",
        }),
    }
}

fn folder(spool: &Spool, name: &Name) -> Result<Dir, StoreError> {
    let folder = Spool::folder_name(name);
    let users = spool.user_dir();
    users
        .sub(&folder)
        .map_err(StoreError::system("open", users.path_of(&folder)))
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
