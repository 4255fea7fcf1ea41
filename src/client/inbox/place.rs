//! Where the client keeps what must not be lost: `$XDG_STATE_HOME/dropline`.

use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::InboxError;
use crate::sys::file::Dir;

/// Names another place for it, as a test needs.
const OVERRIDE: &str = "DROPLINE_STATE_DIR";

/// The directory of the inboxes, made if it is not there: for its owner alone, the one above it as well.
///
/// # Errors
/// When there is no home, or the directory cannot be made, or belongs to somebody else.
pub(super) fn inboxes() -> Result<Dir, InboxError> {
    let path = path()?;
    prepared(&path).map_err(|e| InboxError::Place(path, e))
}

fn path() -> Result<PathBuf, InboxError> {
    if let Some(path) = std::env::var_os(OVERRIDE).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let base = etcetera::choose_base_strategy().map_err(|_| InboxError::NoHome)?;
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    Ok(state.join("dropline"))
}

fn prepared(path: &Path) -> io::Result<Dir> {
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
    state.make_dir("inbox")?;
    state.sync()?;
    let inboxes = state.sub("inbox")?;
    private(&inboxes)?;
    Ok(inboxes)
}

/// Makes sure that nobody else may look into it.
fn private(dir: &Dir) -> io::Result<()> {
    if dir.privacy()?.is_err() {
        dir.make_private()?;
    }
    dir.privacy()?.map_err(io::Error::other)
}
