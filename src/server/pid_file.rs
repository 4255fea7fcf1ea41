//! The pid file: whom to send a signal to.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::file::Dir;
use crate::sys::lock::{Claim, OwnerFile};

const NAME: &str = "droplined.pid";

/// The pid file of the running daemon, locked.
#[derive(Debug)]
pub(super) struct PidFile {
    dir: Dir,
    _owner: OwnerFile,
}

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub(super) enum PidFileError {
    /// Another daemon has it.
    #[error(
        "a daemon runs already with the run directory {0}: process {1}; end it, or use --run-dir"
    )]
    Taken(PathBuf, String),
    /// The system does not let us.
    #[error("cannot write {0}: {1}")]
    System(PathBuf, io::Error),
}

/// Makes the run directory, if it is not there: everybody may enter it, for the socket and the scoreboard are in it,
/// whatever the umask says.
fn make(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
}

impl PidFile {
    /// Writes the pid file into `dir`, which is made if need be.
    ///
    /// # Errors
    /// When another process has it, and those of the system.
    pub(super) fn write(dir: &Path) -> Result<Self, PidFileError> {
        let system = |e| PidFileError::System(dir.join(NAME), e);
        make(dir).map_err(system)?;
        let dir = Dir::open(dir).map_err(system)?;
        match OwnerFile::claim(&dir, NAME).map_err(system)? {
            Claim::Ours(owner) => Ok(Self { dir, _owner: owner }),
            Claim::Theirs(pid) => Err(PidFileError::Taken(dir.path().to_owned(), pid)),
        }
    }

    /// The run directory.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Removes it, while it is still locked, and the file `other` beside it. (Dropping it, as a child does, leaves
    /// it where it is.)
    pub(super) fn remove_with(self, other: &str) {
        for name in [other, NAME] {
            if let Err(e) = self.dir.remove(name) {
                log::warn!("cannot remove {}: {e}", self.dir.path_of(name).display());
            }
        }
    }
}
