//! Where the client keeps what must not be lost: `$XDG_STATE_HOME/dropline`, and a directory in it for each
//! kind of thing.

use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use crate::sys::dir::Dir;

/// Names another place for it, as a test needs.
const OVERRIDE: &str = "DROPLINE_STATE_DIR";

/// Why something cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    /// Nobody knows where it is to be.
    #[error("there is no place for the {0}: set HOME, or XDG_STATE_HOME")]
    NoHome(&'static str),
    /// Its directory cannot be used.
    #[error("cannot use {path} for the {what}: {error}", path = .path.display())]
    Unusable {
        /// What is kept there.
        what: &'static str,
        /// The state directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// The directory of what is called `what`, made if it is not there: for its owner alone, the one above it as
/// well.
///
/// # Errors
/// When there is no home, or the directory cannot be made, or belongs to somebody else.
pub(super) fn directory(what: &'static str) -> Result<Dir, StateError> {
    let path = path(what)?;
    prepared(&path, what).map_err(|error| StateError::Unusable { what, path, error })
}

/// As [`directory`], where it is there already; `None` where it is not.
///
/// # Errors
/// When it cannot be opened, or belongs to somebody else.
pub(super) fn existing(what: &'static str) -> Result<Option<Dir>, StateError> {
    // Where there is no place for it, there is nothing.
    let Ok(path) = path(what) else {
        return Ok(None);
    };
    let found = Dir::open(&path.join(what)).and_then(|dir| private(&dir).map(|()| dir));
    match found {
        Ok(dir) => Ok(Some(dir)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(StateError::Unusable { what, path, error }),
    }
}

fn path(what: &'static str) -> Result<PathBuf, StateError> {
    if let Some(path) = std::env::var_os(OVERRIDE).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let base = etcetera::choose_base_strategy().map_err(|_| StateError::NoHome(what))?;
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    Ok(state.join("dropline"))
}

fn prepared(path: &Path, what: &str) -> io::Result<Dir> {
    use std::os::unix::fs::DirBuilderExt;
    let is_new = !path.exists();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    // Somebody may have put it elsewhere and left a link.
    let state = Dir::open(&path.canonicalize()?)?;
    private(&state)?;
    if is_new && let Some(parent) = state.path().parent() {
        Dir::open(parent)?.sync()?;
    }
    state.make_dir(what)?;
    state.sync()?;
    let dir = state.sub(what)?;
    private(&dir)?;
    Ok(dir)
}

/// Makes sure that nobody else may look into it.
fn private(dir: &Dir) -> io::Result<()> {
    if dir.privacy()?.is_err() {
        dir.make_private()?;
    }
    dir.privacy()?.map_err(io::Error::other)
}
