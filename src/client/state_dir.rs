//! The state directory, `$XDG_STATE_HOME/dropline`. It has a subdirectory for the inbox and one for the outbox.

use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use crate::sys::dir::Dir;
use crate::sys::own_path::IfMissing;

/// The environment variable that overrides the path of the state directory.
const OVERRIDE: &str = "DROPLINE_STATE_DIR";

/// Why a directory for the client's state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    /// The home directory is unknown.
    #[error("no directory is known for the {0}: set HOME or XDG_STATE_HOME")]
    NoHome(&'static str),
    /// The directory cannot be created or opened, or another user has access to it.
    #[error("cannot use {path} for the {what}: {error}", path = .path.display())]
    Unusable {
        /// The subdirectory.
        what: &'static str,
        /// The state directory.
        path: PathBuf,
        error: io::Error,
    },
}

/// Opens the subdirectory `what`. Creates it and the state directory if needed, with access for the owner only.
///
/// # Errors
/// The home directory is unknown, or a directory cannot be created or belongs to another user.
pub(super) fn directory(what: &'static str) -> Result<Dir, StateError> {
    let path = path(what)?;
    prepared(&path, what).map_err(|error| StateError::Unusable { what, path, error })
}

/// Opens the subdirectory `what`; returns `None` if it does not exist.
///
/// # Errors
/// The directory cannot be opened, or belongs to another user.
pub(super) fn existing(what: &'static str) -> Result<Option<Dir>, StateError> {
    // Without a home directory, no state directory can exist.
    let Ok(path) = path(what) else {
        return Ok(None);
    };
    let found = Dir::open_own(&path, IfMissing::Fail)
        .and_then(|state| state.sub(what))
        .and_then(|dir| private(&dir).map(|()| dir));
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
    let state = Dir::open_own(path, IfMissing::Make)?;
    private(&state)?;
    state.make_dir(what)?;
    state.sync()?;
    let dir = state.sub(what)?;
    private(&dir)?;
    Ok(dir)
}

/// Removes access for other users. Fails if the directory belongs to another user, and does not change it then.
fn private(dir: &Dir) -> io::Result<()> {
    let (owner, mode) = dir.owner_and_mode()?;
    if owner == Dir::own_user() && mode & 0o077 != 0 {
        dir.make_private()?;
    }
    dir.privacy()?.map_err(io::Error::other)
}
