//! The files of names in `user/`: `user/3f/bob` is the registration of bob, and `user/3f/.bob.claim` the record of its
//! owner (format/user.rs).

use std::io;

use super::format::user;
use super::handle::Spool;
use super::paths::{Place, for_each_folder, place_around};
use crate::name::Name;
use crate::store::{OwnerRecord, StoreError};
use crate::sys::dir::Dir;
use crate::sys::file;

/// The number of bytes that are read of a file. It is longer than any text.
const LONGEST: usize = 128;

/// Returns the file name of the owner record of `name`.
pub(super) fn owner_file(name: &Name) -> String {
    format!(".{name}.claim")
}

/// Returns the name whose owner record is in this file, if it is one.
pub(super) fn owner_of_file(file: &[u8]) -> Option<Name> {
    Name::new(file.strip_prefix(b".")?.strip_suffix(b".claim")?).ok()
}

/// Returns the path of the owner record of `name` below `user/`.
pub(super) fn owner_place(name: &Name) -> Place {
    place_around(".", name, ".claim")
}

/// Reads the owner record of `name`.
///
/// # Errors
/// I/O errors.
pub(super) fn owner_record(spool: &Spool, name: &Name) -> Result<OwnerRecord, StoreError> {
    let text = read(spool, &owner_place(name))?;
    Ok(text.map_or(OwnerRecord::None, |text| user::decode_owner_record(&text)))
}

/// Returns whether `name` has an owner record, complete or not.
///
/// # Errors
/// Errors from `openat(2)`, except ENOENT.
pub(super) fn has_owner_record(spool: &Spool, name: &Name) -> Result<bool, StoreError> {
    let look = || Ok(spool.paths.user_file(&owner_place(name))?.is_some());
    spool.flags.is_claimed(name, look)
}

/// Reads the file at `place`, up to [`LONGEST`] bytes; `None` if there is none.
///
/// # Errors
/// I/O errors.
pub(super) fn read(spool: &Spool, place: &Place) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(file) = spool.paths.user_file(place)? else {
        return Ok(None);
    };
    let mut text = vec![0; LONGEST];
    let n = file::read_at(&file, &mut text, 0);
    let n = n.map_err(|e| StoreError::system("read", spool.paths.users.path_of(place))(e))?;
    text.truncate(n);
    Ok(Some(text))
}

/// Durably writes `text` to the file `file` in the folder of `name`. The directory entry is durable first, so that a
/// complete file is a durable one. The lock of the mailbox must be held.
///
/// # Errors
/// I/O errors. The file may then be empty, which counts as incomplete.
pub(super) fn write(spool: &Spool, name: &Name, file: &str, text: &str) -> Result<(), StoreError> {
    let folder = spool.paths.user_folder(name)?;
    let write = |e| StoreError::system("write", folder.path_of(file))(e);
    let open = folder.file_or_new(file).map_err(write)?;
    for dir in [&folder, &spool.paths.users] {
        dir.sync().map_err(StoreError::system("sync", dir.path()))?;
    }
    let len = file::facts(&open).map_err(write)?.len;
    if (1..text.len() as u64).contains(&len) {
        // A power cut could keep a new text and the earlier length. Zeros behind the earlier text do not count.
        file::truncate(&open, text.len() as u64).map_err(write)?;
        file::sync(&open).map_err(write)?;
    }
    let mut bytes = text.as_bytes().to_vec();
    let covered = usize::try_from(len).map_or(LONGEST, |len| len.min(LONGEST));
    bytes.resize(covered.max(text.len()), 0);
    // They are shorter than a sector, so that the write is atomic.
    file::write_at(&open, &bytes, 0).map_err(write)?;
    file::sync(&open).map_err(write)
}

/// Creates `file` in the folder of `name`, empty and not yet durable.
///
/// # Errors
/// Errors from `openat(2)` and `mkdirat(2)`.
pub(super) fn begin(spool: &Spool, name: &Name, file: &str) -> Result<(), StoreError> {
    let folder = spool.paths.user_folder(name)?;
    let begun = folder.file_or_new(file);
    begun
        .map(drop)
        .map_err(StoreError::system("write", folder.path_of(file)))
}

/// Durably removes `file` from the folder of `name`. Returns `false` if it does not exist.
///
/// # Errors
/// Errors from `unlinkat(2)` and `fsync(2)`.
pub(super) fn remove(spool: &Spool, name: &Name, file: &str) -> Result<bool, StoreError> {
    let folder: Dir = spool.paths.user_folder(name)?;
    match folder.remove(file).and_then(|()| folder.sync()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StoreError::system("remove", folder.path_of(file))(e)),
    }
}

/// Returns the names that `name` extracts from the file names in all folders, sorted.
///
/// # Errors
/// I/O errors.
pub(super) fn list(
    spool: &Spool,
    name: impl Fn(&[u8]) -> Option<Name>,
) -> Result<Vec<Name>, StoreError> {
    let mut all = Vec::new();
    for_each_folder(&spool.paths.users, |_, _, files| {
        all.extend(files.iter().filter_map(|file| name(file)));
        Ok(())
    })?;
    all.sort_unstable();
    Ok(all)
}
