//! Opening a spool: making it, taking over an older format, and bringing what a killed daemon has left to the mailboxes.

use std::io;
use std::path::Path;

use super::cache::{self, Cache};
use super::flags::Flags;
use super::format::version::{self, Version};
use super::handle::Spool;
use super::journal::client::Journal;
use super::journal::recovery::{self, RecoveryLock};
use super::lock::SpoolLock;
use super::paths::{self, DIRECTORIES, JOURNAL, OWNER, Paths, Run};
use super::sweep;
use crate::store::{Limits, StoreError};
use crate::sys::clock;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::Locked;

const FORMAT: &str = "FORMAT";
/// What becomes [`FORMAT`] once it is whole.
const NEW_FORMAT: &str = "FORMAT.new";

impl Spool {
    /// Opens the spool at `path` for a daemon. A directory that is missing or empty becomes a spool, and one of format 1
    /// is taken over.
    ///
    /// # Errors
    /// When another process works on it, when it has another format, or belongs to another user, and those
    /// of the system.
    pub(crate) fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        make_path(path)?;
        let root = Dir::open(path).map_err(StoreError::system("open the spool", path))?;
        let format = read_format(&root)?;
        if format.is_none() {
            // Before anything is changed: another directory stays as it is.
            refuse_other_directory(&root)?;
            root.make_private()
                .map_err(StoreError::system("chmod 0700", path))?;
        }
        let privacy = root
            .privacy()
            .map_err(StoreError::system("look at", path))?;
        privacy.map_err(|what| unusable(path, what))?;
        // Before the spool is locked: a process that looks at a locked spool takes its mailboxes for whole.
        let right = match root.sub(JOURNAL) {
            Ok(dir) => Some(RecoveryLock::take(&dir)?),
            Err(_) => None,
        };
        let lock = SpoolLock::take(&root)?;
        // It may have been made, or taken over, while this process waited.
        let version = match read_format(&root)? {
            Some(format) => parse_format(path, &format)?,
            None => {
                make(&root).map_err(StoreError::system("make the spool in", path))?;
                Version::Two
            }
        };
        make_what_is_missing(&root).map_err(StoreError::system("make a directory in", path))?;
        let mut spool = Self::handles(&root, limits)?;
        if let Some(right) = right {
            recovery::recover(&spool, &right)?;
        }
        if version == Version::One {
            match take_over(&root).map_err(StoreError::system("take over the spool in", path)) {
                Ok(()) => log::info!("the spool {} has format 2 now", path.display()),
                // What is in it can be read, which makes room. Nothing is written so far that format 1 does not have.
                Err(e @ StoreError::DiskFull(_)) => {
                    log::warn!("the spool stays one of format 1 until there is room: {e}");
                }
                Err(e) => return Err(e),
            }
        }
        spool._lock = Some(lock);
        Ok(spool)
    }

    /// Opens the spool at `path` to look at it, whether or not a daemon works on it. What a daemon that was killed has left
    /// in the journal is brought to the mailboxes first, unless another process works on the spool. With it comes why that
    /// cannot be, for want of room or of the right to write: then there is more than is seen.
    ///
    /// # Errors
    /// When there is none, or it has another format, and those of the system.
    pub(crate) fn look_at(
        path: &Path,
        limits: Limits,
    ) -> Result<(Self, Option<StoreError>), StoreError> {
        let root = Dir::open(path).map_err(StoreError::system("open the spool", path))?;
        match read_format(&root)? {
            Some(format) => parse_format(path, &format)?,
            None => return Err(unusable(path, "it has no file FORMAT".into())),
        };
        let spool = Self::handles(&root, limits)?;
        match spool.recover_unless_in_use(&root) {
            Ok(()) => Ok((spool, None)),
            // Looking must do all the same.
            Err(e @ StoreError::Unavailable { .. }) => Ok((spool, Some(e))),
            Err(e) => Err(e),
        }
    }

    fn recover_unless_in_use(&self, root: &Dir) -> Result<(), StoreError> {
        if !recovery::is_needed(self)? {
            return Ok(());
        }
        let right = RecoveryLock::take(self.journal.dir()?)?;
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
            return Err(StoreError::Unavailable {
                place: format!("the journal {}", self.journal.path().display()),
                why: "the file system is mounted read-only; mount it for writing",
            });
        }
        recovery::recover(self, &right)
    }

    fn handles(root: &Dir, limits: Limits) -> Result<Self, StoreError> {
        Ok(Self {
            paths: Paths::open(root)?,
            limits,
            cache: Cache::within(cache::DESCRIPTORS),
            flags: Flags::default(),
            journal: Journal::open(root)?,
            on_full: None,
            _lock: None,
        })
    }

    /// Lets the spool know who is online, and wake the processes that watch mailboxes, by files in the directory
    /// `run_dir`. What an earlier daemon has left there, and has ended, is removed.
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
            sweep::all(&run)?;
            for fifo in run.watch.names()? {
                run.watch.remove(&String::from_utf8_lossy(&fifo))?;
            }
            Ok(run)
        };
        self.paths
            .set_run(open().map_err(StoreError::system("prepare", run_dir))?);
        Ok(self)
    }
}

fn parse_format(path: &Path, format: &str) -> Result<Version, StoreError> {
    version::parse(format).map_err(|what| unusable(path, what))
}

fn unusable(path: &Path, what: String) -> StoreError {
    StoreError::no_spool(path, what)
}

/// Makes the directory, and those above it.
fn make_path(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::system("make the spool", path))?;
    let above = path.parent().unwrap_or(path);
    let above = if above.as_os_str().is_empty() {
        Path::new(".")
    } else {
        above
    };
    Dir::open(above)
        .and_then(|dir| dir.sync())
        .map_err(StoreError::system("sync", above))
}

fn read_format(root: &Dir) -> Result<Option<String>, StoreError> {
    let path = root.path_of(FORMAT);
    let Some(file) = root
        .file(FORMAT)
        .map_err(StoreError::system("open", &path))?
    else {
        return Ok(None);
    };
    let mut text = [0; 1_024];
    let n = file::read_at(&file, &mut text, 0).map_err(StoreError::system("read", &path))?;
    Ok(Some(String::from_utf8_lossy(&text[..n]).into_owned()))
}

/// Without a FORMAT there must be nothing, or what an earlier attempt at [`make`] has left.
fn refuse_other_directory(root: &Dir) -> Result<(), StoreError> {
    let path = root.path();
    let names = root.names().map_err(StoreError::system("read", path))?;
    let is_ours = |name: &[u8]| {
        let files = [OWNER, NEW_FORMAT];
        DIRECTORIES
            .iter()
            .chain(&files)
            .any(|ours| ours.as_bytes() == name)
    };
    if let Some(other) = names.iter().find(|name| !is_ours(name)) {
        let what = format!(
            "it is not empty and has no file FORMAT (it has \"{}\"); name an empty directory, or one \
             that dropline made",
            other.escape_ascii()
        );
        return Err(unusable(path, what));
    }
    let Ok(mail) = root.sub("mail") else {
        return Ok(());
    };
    paths::for_each_folder(&mail, |_, folder, names| {
        if names.is_empty() {
            return Ok(());
        }
        let what = format!(
            "its file FORMAT is gone, but mail/{folder} has mailboxes; put the file back (from a \
             backup, or from a new spool of the same version)"
        );
        Err(unusable(path, what))
    })
}

/// Makes a spool of an empty directory. It can be done again after a crash at any moment: FORMAT comes last.
fn make(root: &Dir) -> io::Result<()> {
    for name in DIRECTORIES {
        root.make_dir(name)?;
    }
    write_format(root)
}

/// Writes the current FORMAT, whole or not at all, behind everything else in `root`.
fn write_format(root: &Dir) -> io::Result<()> {
    let format = root.file_or_new(NEW_FORMAT)?;
    file::truncate(&format, 0)?;
    file::write_at(&format, version::CURRENT.as_bytes(), 0)?;
    file::sync(&format)?;
    root.sync()?;
    root.rename(NEW_FORMAT, FORMAT)?;
    root.sync()
}

/// Makes a spool of format 1 one of format 2, in which all its files are valid.
fn take_over(root: &Dir) -> io::Result<()> {
    write_format(root)
}

/// Makes the directories that hold nothing in a spool at rest, where they were removed. All names in `root` are on the
/// disk then, whatever an earlier start has left undone.
fn make_what_is_missing(root: &Dir) -> io::Result<()> {
    for name in ["lock", JOURNAL, "quarantine"] {
        root.make_dir(name)?;
    }
    root.sync()
}
