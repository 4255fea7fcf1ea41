//! Opens a spool: creates it, upgrades an older format, and recovers the journal of a killed daemon.

use std::cell::Cell;
use std::io;
use std::path::Path;

use super::budget::Budgets;
use super::cache::{self, Cache};
use super::flags::Flags;
use super::format::version::{self, Version};
use super::handle::Spool;
use super::journal::client::Journal;
use super::journal::recovery::{self, RecoveryLock};
use super::lock::SpoolLock;
use super::paths::{self, DIRECTORIES, JOURNAL, OWNER, Paths, Run};
use super::{names, owners, sweep, used};
use crate::name::Name;
use crate::store::{Limits, StoreError};
use crate::sys::clock;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::Locked;
use crate::sys::login::{self, LoginTable};

const FORMAT: &str = "FORMAT";
/// The temporary name of [`FORMAT`] while it is being written.
const NEW_FORMAT: &str = "FORMAT.new";

impl Spool {
    /// Opens the spool at `path` for a daemon that reserves no names: those in tests may be logins of this machine.
    #[cfg(test)]
    pub(crate) fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        Self::open_with(path, limits, &|_| false)
    }

    /// Opens the spool at `path` for a daemon. Creates it in a missing or empty directory, and upgrades format 1: a name
    /// that is a login gets it as its owner if `reserves` returns `true`.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if it is in use, belongs to another user, or has an unsupported format; I/O errors.
    pub(crate) fn open_with(
        path: &Path,
        limits: Limits,
        reserves: &dyn Fn(&Name) -> bool,
    ) -> Result<Self, StoreError> {
        make_path(path)?;
        let root = Dir::open(path).map_err(StoreError::system("open the spool", path))?;
        let format = read_format(&root)?;
        if format.is_none() {
            // Check this before any change: a directory that is not a spool must stay as it is.
            refuse_other_directory(&root)?;
            root.make_private()
                .map_err(StoreError::system("chmod 0700", path))?;
        }
        let privacy = root
            .privacy()
            .map_err(StoreError::system("look at", path))?;
        privacy.map_err(|what| unusable(path, what))?;
        // Take the recovery lock before the spool lock: an inspecting process assumes that a locked spool is recovered.
        let right = match root.sub(JOURNAL) {
            Ok(dir) => Some(RecoveryLock::take(&dir)?),
            Err(_) => None,
        };
        let last_use = names::last_use(&root);
        let lock = SpoolLock::take(&root)?;
        // Another process may have created or upgraded it while this one waited.
        let version = match read_format(&root)? {
            Some(format) => parse_format(path, &format)?,
            None => {
                make(&root).map_err(StoreError::system("make the spool in", path))?;
                Version::Current
            }
        };
        make_what_is_missing(&root).map_err(StoreError::system("make a directory in", path))?;
        let mut spool = Self::handles(&root, limits)?;
        names::note_use(&spool, &root, last_use)?;
        if let Some(right) = right {
            recovery::recover(&spool, &right)?;
        }
        spool.is_upgraded = version == Version::Current;
        if !spool.is_upgraded {
            match spool.upgrade(&root, reserves) {
                Ok(()) => {
                    spool.is_upgraded = true;
                    log::info!("upgraded the spool {} to format 2", path.display());
                }
                // Continue, because reading messages frees space. What is written until then is valid in all formats.
                Err(e @ StoreError::DiskFull(_)) => {
                    log::warn!(
                        "the spool keeps its old format until the disk has enough space: {e}"
                    );
                }
                Err(e) => return Err(e),
            }
        }
        spool._lock = Some(lock);
        Ok(spool)
    }

    /// Upgrades a spool of an older format. All its files are valid in the current one. Can be repeated.
    fn upgrade(&self, root: &Dir, reserves: &dyn Fn(&Name) -> bool) -> Result<(), StoreError> {
        let failed = |e| StoreError::system("upgrade the spool in", root.path())(e);
        let logins = LoginTable::of_this_machine().map_err(failed)?;
        let directory_answers = Cell::new(true);
        let uid_of = |name: &str| {
            let elsewhere = || match directory_answers.get().then(|| login::uid(name)) {
                Some(Err(e)) => {
                    log::warn!(
                        "cannot look up whether {name} and later names are logins of a directory service: {e}"
                    );
                    directory_answers.set(false);
                    None
                }
                uid => uid?.ok().flatten(),
            };
            logins.uid_of(name).or_else(elsewhere)
        };
        owners::assign_owners(self, uid_of, reserves)?;
        used::upgrade(self)?;
        write_format(root).map_err(failed)
    }

    /// Opens the spool at `path` to inspect it, whether or not a daemon uses it. Recovers the journal of a killed
    /// daemon first, unless another process uses the spool. If that is impossible for lack of space or of write
    /// permission, also returns the reason: the journal then has messages that the mailboxes lack.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if it is not a spool, or its format is not supported; I/O errors.
    pub(crate) fn look_at(
        path: &Path,
        limits: Limits,
    ) -> Result<(Self, Option<StoreError>), StoreError> {
        let root = Dir::open(path).map_err(StoreError::system("open the spool", path))?;
        let version = match read_format(&root)? {
            Some(format) => parse_format(path, &format)?,
            None => return Err(unusable(path, "it has no file FORMAT".into())),
        };
        let mut spool = Self::handles(&root, limits)?;
        spool.is_upgraded = version == Version::Current;
        match spool.recover_unless_in_use(&root) {
            Ok(()) => Ok((spool, None)),
            // Inspection is possible without recovery.
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
        // While a daemon runs, the mailboxes have all that the journal has. Otherwise they may lack some of it.
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

    /// Adds the run directory of a daemon that may be using it, if there is one. Creates and removes nothing.
    ///
    /// # Errors
    /// Errors from `openat(2)`, except ENOENT.
    pub(crate) fn beside_run_dir(mut self, run_dir: &Path) -> Result<Self, StoreError> {
        let boot = clock::boot_id().map_err(StoreError::system("read", clock::BOOT_ID))?;
        let open = || -> io::Result<Run> {
            let dir = Dir::open(run_dir)?;
            Ok(Run {
                online: dir.sub("online")?,
                watch: dir.sub("watch")?,
                boot,
            })
        };
        match open() {
            Ok(run) => self.paths.set_run(run),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(StoreError::system("open", run_dir)(e)),
        }
        Ok(self)
    }

    fn handles(root: &Dir, limits: Limits) -> Result<Self, StoreError> {
        Ok(Self {
            paths: Paths::open(root)?,
            limits,
            cache: Cache::within(cache::DESCRIPTORS),
            flags: Flags::default(),
            budgets: Budgets::default(),
            journal: Journal::open(root)?,
            is_upgraded: true,
            on_full: None,
            _lock: None,
        })
    }

    /// Adds `run_dir`, the directory for presence leases and for the FIFOs that wake mailbox watchers. Removes the
    /// ended leases and all FIFOs of an earlier daemon.
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

/// Creates the directory and its parents.
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

/// Refuses a directory without FORMAT, unless it is empty or was left by an interrupted [`make`].
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
             that dropline created",
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
            "its file FORMAT is missing, but mail/{folder} has mailboxes; restore the file (from a \
             backup, or from a new spool of the same version)"
        );
        Err(unusable(path, what))
    })
}

/// Creates a spool in an empty directory. Can be repeated after a crash at any point, because FORMAT is written last.
fn make(root: &Dir) -> io::Result<()> {
    for name in DIRECTORIES {
        root.make_dir(name)?;
    }
    write_format(root)
}

/// Writes the current FORMAT atomically, after the other entries of `root` are durable.
fn write_format(root: &Dir) -> io::Result<()> {
    let format = root.file_or_new(NEW_FORMAT)?;
    file::truncate(&format, 0)?;
    file::write_at(&format, version::CURRENT.as_bytes(), 0)?;
    file::sync(&format)?;
    root.sync()?;
    root.rename(NEW_FORMAT, FORMAT)?;
    root.sync()
}

/// Creates missing directories among those that are empty in an idle spool. Makes all entries of `root` durable, in
/// case an earlier start was interrupted.
fn make_what_is_missing(root: &Dir) -> io::Result<()> {
    for name in ["lock", JOURNAL, "quarantine"] {
        root.make_dir(name)?;
    }
    root.sync()
}
