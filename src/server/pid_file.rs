//! The pid file, which names the process to signal and keeps a second daemon out of the run directory.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::sys::dir::Dir;
use crate::sys::lock::{Claim, OwnerFile};
use crate::sys::login::{self, Account};
use crate::sys::new_dir;

const NAME: &str = "droplined.pid";

/// The pid file of the running daemon, locked.
#[derive(Debug)]
pub(super) struct PidFile {
    dir: Dir,
    _owner: OwnerFile,
}

/// Why the pid file cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum PidFileError {
    #[error(
        "a daemon runs already with the run directory {0}: process {1}; end it, or use --run-dir"
    )]
    Taken(PathBuf, String),
    #[error("cannot use the run directory {0}: {1}")]
    Open(PathBuf, String),
    #[error("cannot write {0}: {1}{hint}", hint = hint(.1))]
    System(PathBuf, io::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the user that the daemon runs as must be able to write there: `chown` the directory, or use --run-dir"
        }
        _ => "",
    }
}

/// Returns why the files of this directory cannot be trusted; `None` when they can.
pub(super) fn distrust(dir: &Dir) -> io::Result<Option<String>> {
    let (owner, mode) = dir.owner_and_mode()?;
    Ok(if owner != 0 && owner != Dir::own_user() {
        Some(format!(
            "it belongs to uid {owner}, who could replace files there; `chown` it, or use another directory"
        ))
    } else if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        Some(format!(
            "others may write there (mode {mode:04o}); `chmod 0755` it"
        ))
    } else {
        None
    })
}

/// The mode of the run directory: all users may enter it to reach the socket.
const RUN_DIR_MODE: u32 = 0o755;

/// A pid file of a daemon that stays root, which the account cannot open.
enum RootsFile {
    None,
    /// No process holds it.
    Stale,
    /// This process holds it.
    Held(String),
}

/// Returns the state of a pid file that belongs to root.
fn roots_file(dir: &Path) -> io::Result<RootsFile> {
    // The account may have put any file in this place: what is not a plain file of root is for the account to open.
    let Ok(dir) = Dir::open(dir) else {
        return Ok(RootsFile::None);
    };
    let Ok(Some(file)) = dir.file(NAME) else {
        return Ok(RootsFile::None);
    };
    let meta = file.metadata()?;
    if !meta.is_file() || meta.uid() != 0 {
        return Ok(RootsFile::None);
    }
    let holder = OwnerFile::holder(file)?;
    Ok(holder.map_or(RootsFile::Stale, RootsFile::Held))
}

impl PidFile {
    /// Writes and locks the pid file in `dir`, which is created if it is missing. It must belong to root, or to this
    /// user. Root does this as `account`, which it becomes later: in a directory of that account, root must not follow
    /// names.
    ///
    /// # Errors
    /// When another process holds the file, when other users could write to the directory, and those of the system.
    pub(super) fn write(dir: &Path, account: Option<&Account>) -> Result<Self, PidFileError> {
        let system = |e| PidFileError::System(dir.join(NAME), e);
        let Some(account) = account else {
            return Self::claim(dir);
        };
        let is_stale = match roots_file(dir).map_err(system)? {
            RootsFile::Held(pid) => return Err(PidFileError::Taken(dir.to_owned(), pid)),
            RootsFile::Stale => true,
            RootsFile::None => false,
        };
        login::acting_as(account, || {
            if is_stale {
                Dir::open(dir)
                    .and_then(|dir| dir.remove(NAME))
                    .map_err(system)?;
            }
            Self::claim(dir)
        })
        .map_err(system)?
    }

    fn claim(dir: &Path) -> Result<Self, PidFileError> {
        let system = |e| PidFileError::System(dir.join(NAME), e);
        new_dir::make_path(dir, RUN_DIR_MODE, None).map_err(system)?;
        let dir = Dir::open(dir).map_err(system)?;
        if let Some(what) = distrust(&dir).map_err(system)? {
            return Err(PidFileError::Open(dir.path().to_owned(), what));
        }
        match OwnerFile::claim(&dir, NAME).map_err(system)? {
            Claim::Ours(owner) => Ok(Self { dir, _owner: owner }),
            Claim::Theirs(pid) => Err(PidFileError::Taken(dir.path().to_owned(), pid)),
        }
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Removes the file `other` in the run directory, then the pid file while it is still locked. Dropping a `PidFile`,
    /// as a child does, removes nothing.
    pub(super) fn remove_with(self, other: &str) {
        for name in [other, NAME] {
            if let Err(e) = self.dir.remove(name)
                && e.kind() != io::ErrorKind::NotFound
            {
                log::warn!("cannot remove {}: {e}", self.dir.path_of(name).display());
            }
        }
    }
}
