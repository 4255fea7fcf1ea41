//! Making a spool of an empty directory, knowing one from another directory, and having it for oneself.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::journal;
use crate::store::StoreError;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::{Claim, OwnerFile};

/// The whole of the file FORMAT. The hash is part of the format: it chooses the folder of a mailbox.
const FORMAT: &str = "dropline spool 1\nhash crc32\nlocks 4096\nfolders 256\n";
pub(super) const LOCKS: u32 = 4096;
pub(super) const FOLDERS: u32 = 256;
/// The file whose lock says that somebody works on the spool; it holds that process's number.
const OWNER: &str = "owner";

/// The right to work on a spool, for one daemon at a time. It goes with the process, however it ends.
#[derive(Debug)]
pub(crate) struct SpoolLock {
    _owner: OwnerFile,
}

/// Whether this is the format that we know.
pub(super) fn known(path: &Path, format: &str) -> Result<(), StoreError> {
    if format == FORMAT {
        return Ok(());
    }
    let said = format.lines().next().unwrap_or_default();
    let what = format!(
        "its file FORMAT, which begins with \"{}\", is not the one of format 1 as this program writes \
         it; use the version that made the spool",
        said.escape_debug()
    );
    Err(unusable(path, what))
}

pub(super) fn unusable(path: &Path, what: String) -> StoreError {
    StoreError::Spool {
        path: path.to_owned(),
        what,
    }
}

/// Makes the directory, and those above it.
pub(super) fn make_path(path: &Path) -> Result<(), StoreError> {
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

pub(super) fn read_format(root: &Dir) -> Result<Option<String>, StoreError> {
    let path = root.path_of("FORMAT");
    let Some(file) = root
        .file("FORMAT")
        .map_err(StoreError::system("open", &path))?
    else {
        return Ok(None);
    };
    let mut text = [0; 256];
    let n = file::read_at(&file, &mut text, 0).map_err(StoreError::system("read", &path))?;
    Ok(Some(String::from_utf8_lossy(&text[..n]).into_owned()))
}

/// Without a FORMAT there must be nothing, or what an earlier attempt at [`make`] has left.
pub(super) fn refuse_strangers(root: &Dir) -> Result<(), StoreError> {
    let path = root.path();
    let names = root.names().map_err(StoreError::system("read", path))?;
    let ours = [
        &b"lock"[..],
        b"mail",
        b"user",
        b"quarantine",
        journal::NAME.as_bytes(),
        OWNER.as_bytes(),
        b"FORMAT.new",
    ];
    if let Some(stranger) = names.iter().find(|name| !ours.contains(&name.as_slice())) {
        let what = format!(
            "it is not empty and has no file FORMAT (it has \"{}\"); name an empty directory, or one \
             that dropline made",
            stranger.escape_ascii()
        );
        return Err(unusable(path, what));
    }
    for n in 0..FOLDERS {
        let folder = format!("mail/{n:02x}");
        match root.sub(&folder).and_then(|dir| dir.names()) {
            Ok(names) if !names.is_empty() => {
                let what = format!(
                    "its file FORMAT is gone, but {folder} has mailboxes; put the file back (from a \
                     backup, or from a new spool of the same version)"
                );
                return Err(unusable(path, what));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes the lock of the whole spool: of the directory itself, which nobody can remove by mistake. The file
/// says who has it.
pub(super) fn own(root: &Dir) -> Result<SpoolLock, StoreError> {
    let path = root.path_of(OWNER);
    let claim = OwnerFile::claim_dir(root, OWNER);
    match claim.map_err(StoreError::system("lock", &path))? {
        Claim::Ours(owner) => Ok(SpoolLock { _owner: owner }),
        Claim::Theirs(pid) => {
            let what = format!("process {pid} works on it already");
            Err(unusable(root.path(), what))
        }
    }
}

/// Makes a spool of an empty directory. Whatever moment it is cut off at, it can be done again: FORMAT
/// comes last.
pub(super) fn make(root: &Dir) -> Result<(), StoreError> {
    fill(root).map_err(StoreError::system("make the spool in", root.path()))
}

fn fill(root: &Dir) -> io::Result<()> {
    for name in ["lock", "mail", "user", "quarantine"] {
        root.make_dir(name)?;
    }
    let locks = root.sub("lock")?;
    let mail = root.sub("mail")?;
    let users = root.sub("user")?;
    let mut name = String::new();
    for n in 0..LOCKS {
        name.clear();
        let _ = write!(name, "{n:03x}");
        locks.file_or_new(&name)?;
    }
    for n in 0..FOLDERS {
        name.clear();
        let _ = write!(name, "{n:02x}");
        mail.make_dir(&name)?;
        users.make_dir(&name)?;
    }
    locks.sync()?;
    mail.sync()?;
    users.sync()?;
    let format = root.file_or_new("FORMAT.new")?;
    file::truncate(&format, 0)?;
    file::write_at(&format, FORMAT.as_bytes(), 0)?;
    file::sync(&format)?;
    root.sync()?;
    root.rename("FORMAT.new", "FORMAT")?;
    root.sync()
}
