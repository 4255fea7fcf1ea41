//! The pid file, which names the process to signal and keeps a second daemon out of the run directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::dir::Dir;
use crate::sys::lock::{Claim, OwnerFile};

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
    #[error("cannot write {0}: {1}")]
    System(PathBuf, io::Error),
}

/// Returns why the files of this directory cannot be trusted; `None` when they can.
fn distrust(dir: &Dir, uid: u32) -> io::Result<Option<String>> {
    let (owner, mode) = dir.owner_and_mode()?;
    Ok(if owner != uid && owner != 0 && owner != Dir::own_user() {
        Some(format!(
            "it belongs to uid {owner}, who could replace files there; `chown` it, or use --run-dir"
        ))
    } else if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        Some(format!(
            "others may write there (mode {mode:04o}); `chmod 0755` it"
        ))
    } else {
        None
    })
}

/// Creates the run directory if it is missing. All users may enter it, whatever the umask, to reach the socket.
fn make(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
}

impl PidFile {
    /// Writes and locks the pid file in `dir`, which is created if it is missing. It must belong to this user, to root,
    /// or to `uid`, the account that the daemon becomes.
    ///
    /// # Errors
    /// When another process holds the file, when other users could write to the directory, and those of the system.
    pub(super) fn write(dir: &Path, uid: u32) -> Result<Self, PidFileError> {
        let system = |e| PidFileError::System(dir.join(NAME), e);
        make(dir).map_err(system)?;
        let dir = Dir::open(dir).map_err(system)?;
        if let Some(what) = distrust(&dir, uid).map_err(system)? {
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
