//! The directory: what is in it, and where.
//!
//! ```text
//! spool/           0700, files 0600
//!   FORMAT         which format this is; another one is refused
//!   lock/000..fff  lock files, made once and never removed
//!   mail/3f/bob    the mailbox of bob
//!   user/3f/bob    that bob is registered
//!   journal/0, 1   messages of many processes, until they are synced in the mailboxes
//!   quarantine/    what repair took out of mailboxes
//! run/             may vanish at a reboot
//!   online/bob     that bob is online, and where
//!   watch/bob      a FIFO, to wake whoever watches the mailbox of bob
//! ```

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::Path;

use arrayvec::ArrayString;

use super::hints::Hints;
use super::journal::{self, Journal, Settling};
use super::kept::{self, Kept};
use super::limits::Limits;
use super::make::{self, LOCKS, SpoolLock};
use super::sweep;
use crate::name::{MAX_NAME, Name};
use crate::store::StoreError;
use crate::sys::clock;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::Locked;
use crate::sys::submission_queue::SubmissionQueue;

/// The name of a folder: two digits.
pub(super) type Folder = ArrayString<2>;
/// Where something is: its folder, a `/`, and its name, which may have what is put around a name.
pub(super) type Place = ArrayString<{ 2 + 1 + MAX_NAME + 7 }>;

/// A spool that is ready for use. Open it once and fork: the handles may be shared, and every file is
/// opened after the fork.
#[derive(Debug)]
pub(crate) struct Spool {
    locks: Dir,
    mail: Dir,
    users: Dir,
    pub(super) quarantine: Dir,
    pub(super) journal: Journal,
    pub(super) hints: Hints,
    run: Option<Run>,
    limits: Limits,
    /// Told of each request that fails for want of room.
    alarm: Option<Alarm>,
    /// The mailboxes that this process has appended to lately.
    pub(super) kept: Kept,
}

/// What may vanish at a reboot.
#[derive(Debug)]
pub(super) struct Run {
    /// A lease for each who is online.
    pub(super) online: Dir,
    /// A FIFO for each mailbox that is watched.
    pub(super) watch: Dir,
    /// Which start of this machine this is.
    pub(super) boot: String,
}

/// Whom to tell that a disk is full.
struct Alarm(Box<dyn Fn(&StoreError) + Send + Sync>);

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alarm")
    }
}

impl Spool {
    /// Opens the spool at `path` for a daemon. A directory that is not there, or is empty, is made one.
    ///
    /// # Errors
    /// When somebody else works on it, when it has another format, or belongs to another user, and those
    /// of the system.
    pub(crate) fn open(path: &Path, limits: Limits) -> Result<(Self, SpoolLock), StoreError> {
        make::make_path(path)?;
        let root = Dir::open(path).map_err(StoreError::system("open the spool", path))?;
        let format = make::read_format(&root)?;
        if format.is_none() {
            // Before anything is changed: what is not a spool shall stay as it is.
            make::refuse_strangers(&root)?;
            root.make_private()
                .map_err(StoreError::system("chmod 0700", path))?;
        }
        let privacy = root
            .privacy()
            .map_err(StoreError::system("look at", path))?;
        privacy.map_err(|what| make::unusable(path, what))?;
        // Before the spool is ours: whoever looks at it, and finds it ours, takes the mailboxes for whole.
        let settling = match root.sub(journal::NAME) {
            Ok(dir) => Some(Settling::begin(&dir)?),
            Err(_) => None,
        };
        let lock = make::own(&root)?;
        match &format {
            Some(format) => make::known(path, format)?,
            None => make::make(&root)?,
        }
        // They are empty at first, and may have been removed when they were empty again.
        for name in ["quarantine", journal::NAME] {
            root.make_dir(name)
                .map_err(StoreError::system("make", root.path_of(name)))?;
        }
        root.sync().map_err(StoreError::system("sync", path))?;
        let spool = Self::handles(&root, limits)?;
        if let Some(settling) = settling {
            journal::recover(&spool, &settling)?;
        }
        Ok((spool, lock))
    }

    /// Opens the spool at `path` to look at it, whether or not a daemon works on it. What a daemon that did not come to
    /// its end has left in the journal is brought to the mailboxes first, if nobody else works on it. With it comes why
    /// that cannot be, for want of room or of the right to write: then there is more than is seen.
    ///
    /// # Errors
    /// When there is none, or it has another format, and those of the system.
    pub(crate) fn look_at(path: &Path) -> Result<(Self, Option<StoreError>), StoreError> {
        let root = Dir::open(path).map_err(StoreError::system("open the spool", path))?;
        match make::read_format(&root)? {
            Some(format) => make::known(path, &format)?,
            None => return Err(make::unusable(path, "it has no file FORMAT".into())),
        }
        let spool = Self::handles(&root, Limits::default())?;
        match spool.settle(&root) {
            Ok(()) => Ok((spool, None)),
            // Looking must do all the same.
            Err(e @ StoreError::InJournal { .. }) => Ok((spool, Some(e))),
            Err(e) => Err(e),
        }
    }

    fn settle(&self, root: &Dir) -> Result<(), StoreError> {
        if !journal::is_left(self)? {
            return Ok(());
        }
        let settling = Settling::begin(self.journal.dir()?)?;
        let lock = root
            .reopened()
            .and_then(Locked::attempt)
            .map_err(StoreError::system("lock", root.path()))?;
        // With a daemon, all of it is in the mailboxes as well. Without one it may not be.
        if lock.is_err() {
            return Ok(());
        }
        let path = root.path();
        if file::is_read_only(root).map_err(StoreError::system("look at", path))? {
            return Err(StoreError::InJournal {
                path: self.journal.path().to_owned(),
                why: "the file system is mounted read-only; mount it for writing",
            });
        }
        journal::recover(self, &settling)
    }

    fn handles(root: &Dir, limits: Limits) -> Result<Self, StoreError> {
        let sub = |name| {
            root.sub(name)
                .map_err(StoreError::system("open", root.path_of(name)))
        };
        Ok(Self {
            locks: sub("lock")?,
            mail: sub("mail")?,
            users: sub("user")?,
            quarantine: sub("quarantine")?,
            journal: Journal::of(root)?,
            hints: Hints::default(),
            run: None,
            limits,
            alarm: None,
            kept: Kept::within(kept::DESCRIPTORS),
        })
    }

    /// Lets it know who is online, and wake who watches, in the directory `run_dir`. What is there from an
    /// earlier daemon and has ended is removed.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn with_run_dir(mut self, run_dir: &Path) -> Result<Self, StoreError> {
        let boot = clock::boot_id().map_err(StoreError::system("read", clock::BOOT_ID))?;
        let open = || -> io::Result<Run> {
            let dir = Dir::open(run_dir)?;
            let sub = |name| {
                dir.make_dir(name)?;
                let sub = dir.sub(name)?;
                sub.make_private()?;
                Ok::<_, io::Error>(sub)
            };
            let run = Run {
                online: sub("online")?,
                watch: sub("watch")?,
                boot,
            };
            sweep::all(&run.online, &run.boot)?;
            for fifo in run.watch.names()? {
                run.watch.remove(&String::from_utf8_lossy(&fifo))?;
            }
            Ok(run)
        };
        self.run = Some(open().map_err(StoreError::system("prepare", run_dir))?);
        Ok(self)
    }

    /// What may vanish at a reboot.
    ///
    /// # Errors
    /// When this spool was opened without it.
    pub(super) fn run(&self) -> Result<&Run, StoreError> {
        self.run.as_ref().ok_or_else(|| StoreError::Spool {
            path: self.mail.path().to_owned(),
            what: "it was opened without a run directory".into(),
        })
    }

    /// Opens the lock file that guards the mailbox of `name`; it guards others as well.
    pub(super) fn stripe(&self, name: &Name) -> Result<File, StoreError> {
        let stripe = hexadecimal::<3>(hash(name) % LOCKS);
        self.locks
            .file(&stripe)
            .and_then(|file| file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
            .map_err(|e| StoreError::system("open the lock file", self.locks.path_of(&stripe))(e))
    }

    /// Where the mailbox of `name` is, from [`mail`](Self::mail) on.
    pub(super) fn place(name: &Name) -> Place {
        let mut place = Place::new();
        place.push_str(&folder(name));
        place.push('/');
        place.push_str(name.as_str());
        place
    }

    /// The descriptors that it needs, for a process that closes all others.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut dirs = vec![&self.locks, &self.mail, &self.users, &self.quarantine];
        dirs.extend(self.run.iter().flat_map(|run| [&run.online, &run.watch]));
        dirs.iter().map(|dir| dir.as_fd().as_raw_fd()).collect()
    }

    /// From now on there is memory that all share who are forked from this process, and there is to be somebody who writes
    /// the journal: one of them, that calls [`write_journal`](Self::write_journal).
    ///
    /// # Errors
    /// Those of `mmap(2)`.
    pub(crate) fn share(&mut self) -> io::Result<SubmissionQueue> {
        let queue = self.journal.share()?;
        self.hints.share(queue.words());
        Ok(queue)
    }

    /// Writes the journal until the queue is drained. What a writer before has left in the journal is brought to the
    /// mailboxes first. For one process at a time that was forked from the one that opened the spool.
    ///
    /// # Errors
    /// Those of the system. Then others append without the journal, and what is in it stays there until this is called
    /// again, or the spool is opened again.
    pub(crate) fn write_journal(&self, queue: SubmissionQueue) -> Result<(), StoreError> {
        journal::write(self, queue)
    }

    /// Those that [`write_journal`](Self::write_journal) needs.
    pub(crate) fn descriptors_to_write(&self) -> Vec<RawFd> {
        let mut all = self.descriptors();
        all.extend(self.journal.descriptor());
        all
    }

    /// Tells `whom` of each request that fails for want of room on a disk.
    pub(crate) fn alarm(&mut self, whom: impl Fn(&StoreError) + Send + Sync + 'static) {
        self.alarm = Some(Alarm(Box::new(whom)));
    }

    /// Hands on what came of a request, and tells of a disk that is full.
    pub(super) fn heard<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(e @ StoreError::DiskFull(_)), Some(alarm)) = (&result, &self.alarm) {
            alarm.0(e);
        }
        result
    }

    /// Keeps no more files open than a process may that has so many descriptors.
    pub(crate) fn keep_within(&mut self, descriptors: usize) {
        self.kept = Kept::within(descriptors);
    }

    /// Other limits from now on.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What a mailbox may hold, and what is kept.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Removes the mailbox of `name`, which has nothing in it.
    pub(super) fn remove(&self, name: &Name) -> Result<(), StoreError> {
        let folder = self.folder(name)?;
        folder
            .remove(name.as_str())
            .and_then(|()| folder.sync())
            .map_err(StoreError::system("remove", folder.path_of(name.as_str())))
    }

    /// The directory of all mailboxes.
    pub(super) fn mail(&self) -> &Dir {
        &self.mail
    }

    /// The name of the folder of the mailbox of `name`.
    pub(super) fn folder_name(name: &Name) -> Folder {
        folder(name)
    }

    /// The directory of all users.
    pub(super) fn user_dir(&self) -> &Dir {
        &self.users
    }

    /// The folder of the mailbox of `name`, to wait until its name is on the disk.
    pub(super) fn folder(&self, name: &Name) -> Result<Dir, StoreError> {
        let folder = folder(name);
        self.mail
            .sub(&folder)
            .map_err(StoreError::system("open", self.mail.path_of(&folder)))
    }
}

/// The hash that chooses where a mailbox is, and its lock.
pub(super) fn hash(name: &Name) -> u32 {
    crc32fast::hash(name.as_bytes())
}

fn folder(name: &Name) -> Folder {
    hexadecimal(hash(name) >> 24)
}

/// A number in so many digits, which it fits in: as `format!` has it, without its machinery.
fn hexadecimal<const DIGITS: usize>(number: u32) -> ArrayString<DIGITS> {
    let mut text = ArrayString::new();
    for digit in (0..DIGITS).rev() {
        let digit = (number >> (4 * digit)) % 16;
        text.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
    text
}
