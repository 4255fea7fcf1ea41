//! The layout of a spool: its directories, and the paths of the files that belong to a name.
//!
//! ```text
//! spool/           0700, files 0600
//!   FORMAT         the version of the format (format/version.rs); unsupported ones are refused
//!   owner          the id of the process that uses the spool
//!   canaries       logins that show whether the directory service answers (canaries.rs)
//!   lock/000..fff  lock files, created on demand, never removed
//!   mail/3f/bob    the mailbox of bob; .bob.ids: ids of messages of verified senders (ids.rs)
//!   user/3f/bob    the registration of bob; .bob.claim: its owner
//!   names/         an index of registered names (names/mod.rs)
//!   released/      mailboxes that were set aside (released.rs)
//!   journal/0, 1   messages of many processes, until they are synced in the mailboxes
//!   quarantine/    data that repair and recovery set aside
//! run/             may vanish at a reboot
//!   online/bob     the presence lease of bob
//!   watch/bob      a FIFO that wakes the process that watches the mailbox of bob
//! ```
//!
//! 3f is the first byte of the hash of the name. These folders are created on demand.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use arrayvec::ArrayString;

use super::format::lease::LeaseFile;
use crate::name::{MAX_NAME, Name};
use crate::store::StoreError;
use crate::sys::dir::Dir;
use crate::sys::lock::HeldLock;

/// How long a request waits for the lock of a mailbox, or of the directory of the lock files.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of lock files.
const LOCKS: u32 = 4_096;
/// The directories that are created with a spool.
pub(super) const DIRECTORIES: [&str; 5] = ["lock", "mail", "user", JOURNAL, "quarantine"];
/// The directory of messages that were set aside when their name got another owner.
const RELEASED: &str = "released";
/// The end of the name of a file of remembered ids.
const IDS: &str = ".ids";
/// The directory of the journal.
pub(super) const JOURNAL: &str = "journal";
/// The file with the id of the process that uses the spool.
pub(super) const OWNER: &str = "owner";

/// The name of a folder: two hexadecimal digits.
pub(super) type Folder = ArrayString<2>;
/// The path of a file in a folder: the folder, a `/`, and a name with up to seven bytes of prefix and suffix.
pub(super) type Place = ArrayString<{ 2 + 1 + MAX_NAME + 7 }>;

/// The open directories of a spool. Forked processes share these handles, so no lock is ever taken on one of them.
#[derive(Debug)]
pub(super) struct Paths {
    locks: Dir,
    pub(super) mail: Dir,
    pub(super) users: Dir,
    pub(super) quarantine: Dir,
    run: Option<Run>,
}

/// The directories that may vanish at a reboot.
#[derive(Debug)]
pub(super) struct Run {
    /// One lease file per online name.
    pub(super) online: Dir,
    /// One FIFO per watched mailbox.
    pub(super) watch: Dir,
    /// The boot id of the machine.
    pub(super) boot: String,
}

impl Run {
    /// Reads the lease in the file `name` of `online/`.
    ///
    /// # Errors
    /// Errors from `openat(2)` and `pread(2)`.
    pub(super) fn lease_file(&self, name: &str) -> io::Result<LeaseFile> {
        LeaseFile::read(self.online.file(name)?.as_ref(), &self.boot)
    }
}

impl Paths {
    /// Opens the directories below `root`, without a run directory.
    ///
    /// # Errors
    /// Errors from `openat(2)`.
    pub(super) fn open(root: &Dir) -> Result<Self, StoreError> {
        let sub = |name| {
            root.sub(name)
                .map_err(StoreError::system("open", root.path_of(name)))
        };
        Ok(Self {
            locks: sub("lock")?,
            mail: sub("mail")?,
            users: sub("user")?,
            quarantine: sub("quarantine")?,
            run: None,
        })
    }

    /// Opens the directory of messages that were set aside, and creates it if it is missing. It is rarely used, so that no
    /// descriptor is kept for it.
    ///
    /// # Errors
    /// Errors from `mkdirat(2)`, `openat(2)` and `fsync(2)`.
    pub(super) fn released(&self) -> Result<Dir, StoreError> {
        let root = self.root()?;
        let open = || {
            root.make_dir(RELEASED)?;
            root.sync()?;
            root.sub(RELEASED)
        };
        open().map_err(StoreError::system("open", root.path_of(RELEASED)))
    }

    /// Opens the directory of the spool itself, for which no descriptor is kept.
    ///
    /// # Errors
    /// Errors from `open(2)`.
    pub(super) fn root(&self) -> Result<Dir, StoreError> {
        let mail = self.mail.path();
        let path = mail.parent().unwrap_or(mail);
        Dir::open(path).map_err(StoreError::system("open", path))
    }

    /// Opens the directory of messages that were set aside; `None` if it does not exist.
    ///
    /// # Errors
    /// Errors from `openat(2)`, except ENOENT.
    pub(super) fn released_if_any(&self) -> Result<Option<Dir>, StoreError> {
        let root = self.root()?;
        match root.sub(RELEASED) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            dir => dir
                .map(Some)
                .map_err(StoreError::system("open", root.path_of(RELEASED))),
        }
    }

    pub(super) fn set_run(&mut self, run: Run) {
        self.run = Some(run);
    }

    /// Returns the directories that may vanish at a reboot.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if the spool was opened without a run directory.
    pub(super) fn run(&self) -> Result<&Run, StoreError> {
        self.run.as_ref().ok_or_else(|| {
            StoreError::no_spool(self.mail.path(), "it was opened without a run directory")
        })
    }

    /// Returns the descriptors of these directories.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let mut dirs = vec![&self.locks, &self.mail, &self.users, &self.quarantine];
        dirs.extend(self.run.iter().flat_map(|run| [&run.online, &run.watch]));
        dirs.iter().map(|dir| dir.as_fd().as_raw_fd()).collect()
    }

    /// Opens the lock file of the mailbox of `name`, which other names may share. Creates a missing lock file under the
    /// lock of its directory.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another process keeps the directory; errors from `openat(2)` and `flock(2)`.
    pub(super) fn lock_file(&self, name: &Name) -> Result<File, StoreError> {
        let number = hexadecimal::<3>(hash(name) % LOCKS);
        let make = || {
            let dir = self.locks.reopened()?;
            let held = HeldLock::within(&dir, LOCK_TIMEOUT)?;
            let _held = held.ok_or(io::ErrorKind::WouldBlock)?;
            // No sync is needed: after a crash no process holds the lock.
            self.locks.file_or_new(&number)
        };
        let file = self.locks.file(&number).transpose().unwrap_or_else(make);
        file.map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => StoreError::Busy,
            _ => StoreError::system("open the lock file", self.locks.path_of(&number))(e),
        })
    }

    /// Opens the directory of the lock files, which is locked in place of a lock file that cannot be created. Under
    /// this lock no process creates a lock file.
    ///
    /// # Errors
    /// Errors from `openat(2)`.
    pub(super) fn lock_directory(&self) -> Result<File, StoreError> {
        let dir = self.locks.reopened();
        dir.map_err(StoreError::system("open", self.locks.path()))
    }

    /// Returns the path of the mailbox of `name`, for error messages.
    pub(super) fn mailbox_path(&self, name: &Name) -> PathBuf {
        self.mail.path_of(&place(name))
    }

    /// Opens the mailbox of `name`. Returns `None` if it does not exist. This process shares neither the file
    /// description nor a lock on it with others.
    ///
    /// # Errors
    /// Errors from `openat(2)`, except ENOENT.
    pub(super) fn mailbox(&self, name: &Name) -> Result<Option<File>, StoreError> {
        let file = self.mail.file(&place(name));
        file.map_err(|e| StoreError::system("open", self.mailbox_path(name))(e))
    }

    /// Opens the mailbox of `name`, creating it if missing.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`] if the file is not writable; errors from `openat(2)` and `mkdirat(2)`.
    pub(super) fn mailbox_or_new(&self, name: &Name) -> Result<File, StoreError> {
        let place = place(name);
        let opened = match self.mail.file_or_new(&place) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self
                .mail
                .make_dir(&folder(name))
                .and_then(|()| self.mail.file_or_new(&place)),
            opened => opened,
        };
        opened.map_err(|e| {
            let path = self.mailbox_path(name);
            match e.kind() {
                io::ErrorKind::PermissionDenied => StoreError::read_only(path),
                _ => StoreError::system("open", path)(e),
            }
        })
    }

    /// Opens the file of the remembered ids of `name`. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// Errors from `openat(2)`, except ENOENT.
    pub(super) fn ids(&self, name: &Name) -> io::Result<Option<File>> {
        self.mail.file(&ids_place(name))
    }

    /// Opens the file of the remembered ids of `name`, which has a mailbox, creating it if missing.
    ///
    /// # Errors
    /// Errors from `openat(2)`.
    pub(super) fn ids_or_new(&self, name: &Name) -> io::Result<File> {
        self.mail.file_or_new(&ids_place(name))
    }

    /// Opens the folder of the mailbox of `name`, creating it if missing.
    ///
    /// # Errors
    /// Errors from `openat(2)` and `mkdirat(2)`.
    pub(super) fn mailbox_folder(&self, name: &Name) -> Result<Dir, StoreError> {
        folder_or_new(&self.mail, name)
    }

    /// Opens the folder of the user record of `name`, creating it if missing.
    ///
    /// # Errors
    /// Errors from `openat(2)` and `mkdirat(2)`.
    pub(super) fn user_folder(&self, name: &Name) -> Result<Dir, StoreError> {
        folder_or_new(&self.users, name)
    }

    /// Opens the user record at `place`. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// Errors from `openat(2)`, except ENOENT.
    pub(super) fn user_file(&self, place: &str) -> Result<Option<File>, StoreError> {
        let file = self.users.file(place);
        file.map_err(|e| StoreError::system("read", self.users.path_of(place))(e))
    }
}

fn folder_or_new(parent: &Dir, name: &Name) -> Result<Dir, StoreError> {
    let folder = folder(name);
    let opened = match parent.sub(&folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            parent.make_dir(&folder).and_then(|()| parent.sub(&folder))
        }
        opened => opened,
    };
    opened.map_err(|e| StoreError::system("open", parent.path_of(&folder))(e))
}

/// Calls `each` with every folder in `parent` and the names of its files.
///
/// # Errors
/// I/O errors, and errors from `each`.
pub(super) fn for_each_folder(
    parent: &Dir,
    mut each: impl FnMut(&Dir, &str, Vec<Vec<u8>>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let read = |e| StoreError::system("read", parent.path())(e);
    for folder in parent.names().map_err(read)? {
        let folder = String::from_utf8_lossy(&folder).into_owned();
        let path = || parent.path_of(&folder);
        let dir = parent
            .sub(&folder)
            .map_err(|e| StoreError::system("open", path())(e))?;
        let names = dir
            .names()
            .map_err(|e| StoreError::system("read", path())(e))?;
        each(&dir, &folder, names)?;
    }
    Ok(())
}

/// Hashes a name to choose its folder and lock file. This hash is part of the format.
pub(super) fn hash(name: &Name) -> u32 {
    crc32fast::hash(name.as_bytes())
}

/// Returns the number of the folder of `name`, below 256.
pub(super) fn folder_number(name: &Name) -> u32 {
    hash(name) >> 24
}

/// Returns the folder of `name`.
pub(super) fn folder(name: &Name) -> Folder {
    hexadecimal(folder_number(name))
}

/// Returns the path of the mailbox of `name` below `mail/`, which is also that of its registration below `user/`.
pub(super) fn place(name: &Name) -> Place {
    place_around("", name, "")
}

/// Returns the path of the file of `name` with this prefix and suffix, which have at most seven bytes together.
pub(super) fn place_around(prefix: &str, name: &Name, suffix: &str) -> Place {
    let mut place = Place::new();
    for part in [&folder(name), "/", prefix, name.as_str(), suffix] {
        place.push_str(part);
    }
    place
}

fn ids_place(name: &Name) -> Place {
    place_around(".", name, IDS)
}

/// Returns whether a file of a mailbox folder has remembered ids.
pub(super) fn is_ids_file(file: &[u8]) -> bool {
    let name = file.strip_prefix(b".");
    let name = name.and_then(|rest| rest.strip_suffix(IDS.as_bytes()));
    name.is_some_and(|name| Name::new(name).is_ok())
}

/// Formats a number that fits in `DIGITS` digits. `format!` would cost each child more page faults.
fn hexadecimal<const DIGITS: usize>(number: u32) -> ArrayString<DIGITS> {
    let mut text = ArrayString::new();
    for digit in (0..DIGITS).rev() {
        let digit = (number >> (4 * digit)) % 16;
        text.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
    text
}
