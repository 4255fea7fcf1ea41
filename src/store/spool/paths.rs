//! The layout of a spool: its directories, and where in them everything of a name is.
//!
//! ```text
//! spool/           0700, files 0600
//!   FORMAT         which format this is (format/version.rs); another one is refused
//!   owner          the number of the process that works on the spool
//!   lock/000..fff  lock files, made when first needed, never removed
//!   mail/3f/bob    the mailbox of bob
//!   user/3f/bob    the registration of bob
//!   journal/0, 1   messages of many processes, until they are synced in the mailboxes
//!   quarantine/    what repair took out of mailboxes
//! run/             may vanish at a reboot
//!   online/bob     that bob is online, and where
//!   watch/bob      a FIFO that wakes the process that watches the mailbox of bob
//! ```
//!
//! 3f is the first byte of the hash of the name. These folders are made when they are first needed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::PathBuf;

use arrayvec::ArrayString;

use super::format::lease::LeaseFile;
use crate::name::{MAX_NAME, Name};
use crate::store::StoreError;
use crate::sys::dir::Dir;
use crate::sys::lock::HeldLock;

/// How many lock files there are at most.
const LOCKS: u32 = 4_096;
/// The directories in a spool that are made with it.
pub(super) const DIRECTORIES: [&str; 5] = ["lock", "mail", "user", JOURNAL, "quarantine"];
/// The directory of the journal.
pub(super) const JOURNAL: &str = "journal";
/// The file that names the process that works on the spool.
pub(super) const OWNER: &str = "owner";

/// The name of a folder: two hexadecimal digits.
pub(super) type Folder = ArrayString<2>;
/// A file in a folder: the folder, a `/`, and a name with at most seven bytes around it.
pub(super) type Place = ArrayString<{ 2 + 1 + MAX_NAME + 7 }>;

/// The open directories of a spool. Processes that are forked from the one that opened them share the handles: no lock
/// is ever taken on one of them.
#[derive(Debug)]
pub(super) struct Paths {
    locks: Dir,
    pub(super) mail: Dir,
    pub(super) users: Dir,
    pub(super) quarantine: Dir,
    run: Option<Run>,
}

/// What may vanish at a reboot.
#[derive(Debug)]
pub(super) struct Run {
    /// A lease for each name that is online.
    pub(super) online: Dir,
    /// A FIFO for each mailbox that is watched.
    pub(super) watch: Dir,
    /// The id of this boot of the machine.
    pub(super) boot: String,
}

impl Run {
    /// The lease in the file `name` of `online/`.
    ///
    /// # Errors
    /// Those of `openat(2)` and `pread(2)`.
    pub(super) fn lease_file(&self, name: &str) -> io::Result<LeaseFile> {
        LeaseFile::read(self.online.file(name)?.as_ref(), &self.boot)
    }
}

impl Paths {
    /// The directories below `root`, without a run directory.
    ///
    /// # Errors
    /// Those of `openat(2)`.
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

    pub(super) fn set_run(&mut self, run: Run) {
        self.run = Some(run);
    }

    /// What may vanish at a reboot.
    ///
    /// # Errors
    /// When the spool was opened without a run directory.
    pub(super) fn run(&self) -> Result<&Run, StoreError> {
        self.run.as_ref().ok_or_else(|| {
            StoreError::no_spool(self.mail.path(), "it was opened without a run directory")
        })
    }

    /// The descriptors of these directories.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let mut dirs = vec![&self.locks, &self.mail, &self.users, &self.quarantine];
        dirs.extend(self.run.iter().flat_map(|run| [&run.online, &run.watch]));
        dirs.iter().map(|dir| dir.as_fd().as_raw_fd()).collect()
    }

    /// Opens the lock file of the mailbox of `name`, which may be that of other names as well. It is made when there is
    /// none, under the lock of its directory.
    ///
    /// # Errors
    /// Those of `openat(2)` and `flock(2)`.
    pub(super) fn lock_file(&self, name: &Name) -> Result<File, StoreError> {
        let number = hexadecimal::<3>(hash(name) % LOCKS);
        let make = || {
            let dir = self.locks.reopened()?;
            let _held = HeldLock::wait(&dir)?;
            // The name is not synced: after a crash no process holds the lock.
            self.locks.file_or_new(&number)
        };
        let file = self.locks.file(&number).transpose().unwrap_or_else(make);
        file.map_err(|e| StoreError::system("open the lock file", self.locks.path_of(&number))(e))
    }

    /// What guards a mailbox whose lock file cannot be made: the directory of the lock files. Nothing can
    /// be made in it while its lock is held.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub(super) fn lock_directory(&self) -> Result<File, StoreError> {
        let dir = self.locks.reopened();
        dir.map_err(StoreError::system("open", self.locks.path()))
    }

    /// The path of the mailbox of `name`, for messages.
    pub(super) fn mailbox_path(&self, name: &Name) -> PathBuf {
        self.mail.path_of(&place(name))
    }

    /// The mailbox of `name`; `None` when there is none. Its description, and any lock on it, are this process's alone.
    ///
    /// # Errors
    /// Those of `openat(2)`, but for ENOENT.
    pub(super) fn mailbox(&self, name: &Name) -> Result<Option<File>, StoreError> {
        let file = self.mail.file(&place(name));
        file.map_err(|e| StoreError::system("open", self.mailbox_path(name))(e))
    }

    /// The mailbox of `name`, made when there is none.
    ///
    /// # Errors
    /// Those of `openat(2)` and `mkdirat(2)`; [`StoreError::ReadOnly`] for a file that may not be written.
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

    /// The folder of the mailbox of `name`, made when there is none.
    ///
    /// # Errors
    /// Those of `openat(2)` and `mkdirat(2)`.
    pub(super) fn mailbox_folder(&self, name: &Name) -> Result<Dir, StoreError> {
        folder_or_new(&self.mail, name)
    }

    /// The folder of the user record of `name`, made when there is none.
    ///
    /// # Errors
    /// Those of `openat(2)` and `mkdirat(2)`.
    pub(super) fn user_folder(&self, name: &Name) -> Result<Dir, StoreError> {
        folder_or_new(&self.users, name)
    }

    /// The file `place` among the user records; `None` when there is none.
    ///
    /// # Errors
    /// Those of `openat(2)`, but for ENOENT.
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

/// Calls `each` with every folder in `parent` and the names of the files in it.
///
/// # Errors
/// Those of the system, and those of `each`.
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

/// The hash that chooses folder and lock of a name. It is part of the format.
pub(super) fn hash(name: &Name) -> u32 {
    crc32fast::hash(name.as_bytes())
}

/// The number of the folder of `name`, below 256.
pub(super) fn folder_number(name: &Name) -> u32 {
    hash(name) >> 24
}

/// The folder of `name`.
pub(super) fn folder(name: &Name) -> Folder {
    hexadecimal(folder_number(name))
}

/// Where the mailbox of `name` is below `mail/`, and its registration below `user/`.
pub(super) fn place(name: &Name) -> Place {
    place_around("", name, "")
}

/// Where the file of `name` with this prefix and suffix is, of seven bytes together at most.
pub(super) fn place_around(prefix: &str, name: &Name, suffix: &str) -> Place {
    let mut place = Place::new();
    for part in [&folder(name), "/", prefix, name.as_str(), suffix] {
        place.push_str(part);
    }
    place
}

/// A number in so many digits, which it fits in. `format!` costs each child more page faults.
fn hexadecimal<const DIGITS: usize>(number: u32) -> ArrayString<DIGITS> {
    let mut text = ArrayString::new();
    for digit in (0..DIGITS).rev() {
        let digit = (number >> (4 * digit)) % 16;
        text.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
    text
}
