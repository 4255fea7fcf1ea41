//! The files of names in `user/`: `user/3f/bob` is the registration of bob, and `user/3f/.bob.claim` the record of its
//! owner (format/user.rs).

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::format::user;
use super::handle::Spool;
use super::paths::{Place, for_each_folder, place_around};
use crate::name::Name;
use crate::store::{OwnerRecord, StoreError};
use crate::sys::dir::Dir;
use crate::sys::file;

/// The number of bytes that are read of a file. It is longer than any text.
const LONGEST: usize = 128;
/// Why a registration does not count.
const DAMAGED: &str = "it is not a registration; remove the file to register the name again";

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

/// Returns when `name` was registered, or `None` if it is not.
///
/// # Errors
/// [`StoreError::Damaged`] if the record is damaged; I/O errors.
pub(super) fn registered(spool: &Spool, name: &Name) -> Result<Option<u64>, StoreError> {
    let Some(text) = registration(spool, name)? else {
        return Ok(None);
    };
    match user::decode_registration(&text) {
        Some(registered) => Ok(Some(registered)),
        None => {
            let path = spool.paths.users.path_of(&place_around("", name, ""));
            Err(StoreError::damaged(path, 0, DAMAGED))
        }
    }
}

/// Reads the registration of `name`; `None` if there is none, or its first write was interrupted.
pub(super) fn registration(spool: &Spool, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
    let text = read(spool, &place_around("", name, ""))?;
    Ok(text.filter(|text| !user::is_unwritten(text)))
}

/// Returns all registered names, sorted. Some of them may have no registration yet.
pub(super) fn registered_names(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    list(spool, |file| Name::new(file).ok())
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
    let Begun { file: open, path } = begin_durably(spool, name, file)?;
    let write = |e| StoreError::system("write", &path)(e);
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

/// A file whose directory entry is durable.
pub(super) struct Begun {
    file: File,
    path: PathBuf,
}

/// Opens `file` in the folder of `name`, or creates it empty, with a durable directory entry.
///
/// # Errors
/// I/O errors.
pub(super) fn begin_durably(spool: &Spool, name: &Name, file: &str) -> Result<Begun, StoreError> {
    let folder = spool.paths.user_folder(name)?;
    let path = folder.path_of(file);
    let open = folder.file_or_new(file);
    let open = open.map_err(StoreError::system("write", &path))?;
    for dir in [&folder, &spool.paths.users] {
        dir.sync().map_err(StoreError::system("sync", dir.path()))?;
    }
    Ok(Begun { file: open, path })
}

impl Begun {
    /// Returns whether the file is still in its place, and empty. The lock of the mailbox must be held.
    ///
    /// # Errors
    /// Errors from `fstat(2)`.
    pub(super) fn is_in_place(&self) -> Result<bool, StoreError> {
        let facts = file::facts(&self.file).map_err(StoreError::system("look at", &self.path))?;
        Ok(facts.named && facts.len == 0)
    }

    /// Writes the contents, which are shorter than a sector, so that the write is atomic.
    ///
    /// # Errors
    /// Errors from `pwrite(2)`.
    pub(super) fn write(&self, text: &str) -> Result<(), StoreError> {
        file::write_at(&self.file, text.as_bytes(), 0)
            .map_err(StoreError::system("write", &self.path))
    }

    /// Makes the contents durable.
    ///
    /// # Errors
    /// Errors from `fdatasync(2)`.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        file::sync(&self.file).map_err(StoreError::system("write", &self.path))
    }
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
