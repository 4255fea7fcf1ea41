//! The directory `released/`: mailboxes whose messages were set aside because their names got another owner.
//!
//! `bob@1795300000123.1001` is the mailbox of bob, set aside at this time (milliseconds since 1970) and belonging to the
//! login with uid 1001. In place of the uid, `open` stands for clients of a name without an owner; files of earlier
//! versions have neither. `.FILE.restoring` is a file whose messages a restore adds to the mailbox of its name, and
//! `.NAME.new` an incomplete copy.

use super::format::header::Header;
use super::handle::Spool;
use super::lock::{CARE_TIMEOUT, lock_within};
use crate::name::Name;
use crate::store::{FormerOwner, StoreError};
use crate::sys::clock::unix_millis;
use crate::sys::dir::Dir;
use crate::sys::file;

/// How long set-aside messages are kept, in milliseconds.
const RETENTION: u64 = 30 * 86_400_000;
/// The text in a file name that stands for a name without an owner.
const NO_OWNER: &str = "open";
/// The end of the name of a file that is being restored.
const RESTORING: &str = ".restoring";

/// A file of `released/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReleasedFile {
    pub(super) name: Name,
    /// When it was set aside, in milliseconds since 1970.
    pub(super) at: u64,
    pub(super) from: FormerOwner,
}

impl ReleasedFile {
    fn parse(file: &[u8]) -> Option<Self> {
        let (name, rest) = std::str::from_utf8(file).ok()?.split_once('@')?;
        let (at, from) = match rest.split_once('.') {
            None => (rest, FormerOwner::Unknown),
            Some((at, NO_OWNER)) => (at, FormerOwner::None),
            Some((at, uid)) => (at, FormerOwner::Login(uid.parse().ok()?)),
        };
        let (name, at) = (name.parse().ok()?, at.parse().ok()?);
        let parsed = Self { name, at, from };
        // Other spellings of the same values are no files of ours.
        (parsed.file().as_bytes() == file).then_some(parsed)
    }

    /// Returns the name of the file.
    pub(super) fn file(&self) -> String {
        let Self { name, at, from } = self;
        match from {
            FormerOwner::None => format!("{name}@{at}.{NO_OWNER}"),
            FormerOwner::Login(uid) => format!("{name}@{at}.{uid}"),
            FormerOwner::Unknown => format!("{name}@{at}"),
        }
    }

    /// Returns the name of the file while it is being restored.
    pub(super) fn restoring(&self) -> String {
        format!(".{}{RESTORING}", self.file())
    }
}

/// The files of `released/`.
#[derive(Debug)]
pub(super) struct Released {
    pub(super) dir: Dir,
    /// Sorted by name and time.
    pub(super) files: Vec<ReleasedFile>,
    /// The files that a restore was interrupted at.
    pub(super) restoring: Vec<ReleasedFile>,
    /// The names that have an incomplete copy.
    incomplete: Vec<Name>,
}

impl Released {
    /// Lists the directory, or the files of `of` in it; `None` if there is no such directory.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn list(spool: &Spool, of: Option<&Name>) -> Result<Option<Self>, StoreError> {
        let Some(dir) = spool.paths.released_if_any()? else {
            return Ok(None);
        };
        let mut listed = Self {
            dir,
            files: Vec::new(),
            restoring: Vec::new(),
            incomplete: Vec::new(),
        };
        let is_of = |name: &Name| of.is_none_or(|of| of == name);
        let entries = listed.dir.names();
        for entry in entries.map_err(StoreError::system("read", listed.dir.path()))? {
            if let Some(file) = ReleasedFile::parse(&entry) {
                listed.files.extend(is_of(&file.name).then_some(file));
                continue;
            }
            let Some(entry) = entry.strip_prefix(b".") else {
                continue;
            };
            if let Some(file) = entry.strip_suffix(RESTORING.as_bytes()) {
                let file = ReleasedFile::parse(file).filter(|file| is_of(&file.name));
                listed.restoring.extend(file);
            } else if let Some(name) = entry.strip_suffix(b".new") {
                let name = Name::new(name).ok().filter(is_of);
                listed.incomplete.extend(name);
            }
        }
        listed.files.sort_unstable();
        Ok(Some(listed))
    }

    /// Returns a file for messages of `name` that belonged to `from`. It does not exist, and is later than the others of
    /// this name, which must be listed.
    pub(super) fn new_file(&self, name: &Name, from: FormerOwner) -> ReleasedFile {
        let last = self.files.iter().map(|file| file.at).max().unwrap_or(0);
        ReleasedFile {
            name: name.clone(),
            at: unix_millis().max(last.saturating_add(1)),
            from,
        }
    }

    /// Reads the header of a file; `None` if there is none.
    ///
    /// # Errors
    /// I/O errors.
    fn header(&self, file: &str) -> Result<Option<Header>, StoreError> {
        let read = |e| StoreError::system("read", self.dir.path_of(file))(e);
        match self.dir.file(file).map_err(read)? {
            Some(file) => Header::read(&file).map_err(read),
            None => Ok(None),
        }
    }

    /// Durably removes the copies of the mailbox with this epoch, which still has the messages.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn remove_copies(&mut self, epoch: u32) -> Result<(), StoreError> {
        for file in std::mem::take(&mut self.files) {
            let copied = self.header(&file.file())?;
            if copied.is_some_and(|copied| copied.epoch == epoch) {
                self.remove(&file.file())?;
            } else {
                self.files.push(file);
            }
        }
        Ok(())
    }

    /// Durably gives `files` the names that they have while they are being restored.
    ///
    /// # Errors
    /// Errors from `renameat(2)` and `fsync(2)`.
    pub(super) fn begin_restores<'f>(
        &self,
        files: impl Iterator<Item = &'f ReleasedFile>,
    ) -> Result<(), StoreError> {
        for file in files {
            self.rename(&file.file(), &file.restoring())?;
        }
        self.sync()
    }

    /// Durably ends all restores. If the messages were restored, the files keep only their acknowledged ones.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn end_restores(&mut self, is_restored: bool) -> Result<(), StoreError> {
        if self.restoring.is_empty() {
            return Ok(());
        }
        for file in std::mem::take(&mut self.restoring) {
            if is_restored && !self.keep_history(&file.restoring())? {
                self.remove(&file.restoring())?;
            } else {
                self.rename(&file.restoring(), &file.file())?;
                self.files.push(file);
            }
        }
        self.files.sort_unstable();
        self.sync()
    }

    /// Durably removes the waiting messages of a file. Returns `false` if it has no others.
    fn keep_history(&self, file: &str) -> Result<bool, StoreError> {
        let history = self
            .header(file)?
            .filter(|header| header.kept_offset < header.acked_offset);
        let Some(header) = history else {
            return Ok(false);
        };
        let write = |e| StoreError::system("write", self.dir.path_of(file))(e);
        if let Some(file) = self.dir.file(file).map_err(write)? {
            file::truncate(&file, header.acked_offset).map_err(write)?;
            file::sync(&file).map_err(write)?;
        }
        Ok(true)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let renamed = self.dir.rename(from, to);
        renamed.map_err(StoreError::system("rename", self.dir.path_of(from)))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let synced = self.dir.sync();
        synced.map_err(StoreError::system("sync", self.dir.path()))
    }

    /// Durably removes a file.
    ///
    /// # Errors
    /// Errors from `unlinkat(2)` and `fsync(2)`.
    fn remove(&self, file: &str) -> Result<(), StoreError> {
        let removed = self.dir.remove(file).and_then(|()| self.dir.sync());
        removed.map_err(StoreError::system("remove", self.dir.path_of(file)))
    }
}

/// Removes the files that were set aside 30 days before `now` (milliseconds since 1970), and the incomplete copies.
///
/// # Errors
/// I/O errors.
pub(super) fn expire(spool: &Spool, now: u64) -> Result<(), StoreError> {
    for listed in Released::list(spool, None)?.iter() {
        let is_old = |file: &&ReleasedFile| now.saturating_sub(file.at) >= RETENTION;
        for file in listed.files.iter().filter(is_old) {
            let _lock = lock_within(&spool.paths, &file.name, CARE_TIMEOUT)?;
            remove_if_any(&listed.dir, &file.file())?;
        }
    }
    tidy(spool)
}

/// Removes the incomplete copies of interrupted processes.
///
/// # Errors
/// I/O errors.
pub(super) fn tidy(spool: &Spool) -> Result<(), StoreError> {
    for listed in Released::list(spool, None)?.iter() {
        for name in &listed.incomplete {
            // The process that writes a copy has the lock.
            let _lock = lock_within(&spool.paths, name, CARE_TIMEOUT)?;
            remove_if_any(&listed.dir, &incomplete(name))?;
        }
    }
    Ok(())
}

/// Removes a file, unless another process has removed or renamed it.
fn remove_if_any(dir: &Dir, file: &str) -> Result<(), StoreError> {
    match dir.remove(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(StoreError::system("remove", dir.path_of(file))),
    }
}

/// Returns the name of an incomplete copy of the mailbox of `name`. Names never begin with a dot.
pub(super) fn incomplete(name: &Name) -> String {
    format!(".{name}.new")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_have_the_former_owner() {
        let file = |from| ReleasedFile {
            name: "bob.2".parse().expect("a name"),
            at: 1_795_300_000_123,
            from,
        };
        for (from, text) in [
            (FormerOwner::Login(1_001), "bob.2@1795300000123.1001"),
            (FormerOwner::None, "bob.2@1795300000123.open"),
            (FormerOwner::Unknown, "bob.2@1795300000123"),
        ] {
            assert_eq!(file(from).file(), text);
            assert_eq!(ReleasedFile::parse(text.as_bytes()), Some(file(from)));
        }
        for other in [
            "bob",
            "bob@",
            "bob@x",
            "bob@1.2.3",
            "bob@01",
            "bob@1.+2",
            ".bob@1",
            ".bob.new",
        ] {
            assert_eq!(ReleasedFile::parse(other.as_bytes()), None, "{other}");
        }
    }
}
