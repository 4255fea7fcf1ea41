//! Creates a directory and its missing parents, also as root in directories of other users.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC);

/// Creates the directory `path` with this mode, whatever the umask, and with this user and group as its owner; `None`
/// for those of this process. Creates missing parents with the default mode. Leaves an existing directory as it is.
///
/// Root follows symbolic links only in directories that no other user can write, makes nothing in a directory of the
/// new owner, and changes mode and owner through a descriptor. A user who exchanges a part of the path therefore cannot
/// make root change a file elsewhere.
///
/// # Errors
/// Those of `open(2)`, `mkdir(2)`, `fchown(2)` and `fchmod(2)`; `PermissionDenied` when the directory is for its owner
/// to make, or when another user has exchanged it.
pub(crate) fn make_path(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let start = if path.is_absolute() { "/" } else { "." };
    let start = nix::fcntl::open(start, DIRECTORY | OFlag::O_PATH, Mode::empty())?;
    let parts = path.components().map(Component::as_os_str);
    let parts = parts.filter(|part| *part != "/" && *part != ".");
    let mut parts = parts.peekable();
    let mut dir = start;
    while let Some(name) = parts.next() {
        dir = match enter(&dir, name) {
            Err(Errno::ENOENT) if belongs_to(&dir, owner)? => return Err(Errno::EACCES.into()),
            Err(Errno::ENOENT) if parts.peek().is_none() => return make(&dir, name, mode, owner),
            Err(Errno::ENOENT) => {
                match nix::sys::stat::mkdirat(&dir, name, Mode::from_bits_retain(0o777)) {
                    Ok(()) | Err(Errno::EEXIST) => enter(&dir, name)?,
                    Err(e) => return Err(e.into()),
                }
            }
            entered => entered?,
        };
    }
    Ok(())
}

/// Returns whether the directory belongs to this owner, and not to the user of this process.
fn belongs_to(dir: &OwnedFd, owner: Option<(u32, u32)>) -> Result<bool, Errno> {
    let user = nix::sys::stat::fstatat(dir, "", AtFlags::AT_EMPTY_PATH)?.st_uid;
    Ok(user != nix::unistd::geteuid().as_raw() && owner.is_some_and(|(uid, _)| uid == user))
}

/// Opens the directory `name` in `dir`.
fn enter(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let stat = nix::sys::stat::fstatat(dir, "", AtFlags::AT_EMPTY_PATH)?;
    let is_roots = stat.st_uid == 0 && stat.st_mode & 0o022 == 0;
    let mut access = DIRECTORY | OFlag::O_PATH;
    if nix::unistd::geteuid().is_root() && !is_roots {
        access |= OFlag::O_NOFOLLOW;
    }
    nix::fcntl::openat(dir, name, access, Mode::empty())
}

/// Creates the directory `name` in `dir`, which may be writable by other users.
fn make(dir: &OwnedFd, name: &OsStr, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    match nix::sys::stat::mkdirat(dir, name, Mode::S_IRWXU) {
        Ok(()) => {}
        Err(Errno::EEXIST) => return Ok(()),
        Err(e) => return Err(e.into()),
    }
    let access = DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW;
    let made = nix::fcntl::openat(dir, name, access, Mode::empty())?;
    let stat = nix::sys::stat::fstatat(&made, "", AtFlags::AT_EMPTY_PATH)?;
    let mut entries = nix::dir::Dir::openat(&made, ".", access, Mode::empty())?;
    // Besides `.` and `..`, there are none.
    if stat.st_uid != nix::unistd::geteuid().as_raw() || entries.iter().count() > 2 {
        let message = "another process has exchanged it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    if let Some((uid, gid)) = owner {
        nix::unistd::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok(nix::sys::stat::fchmod(
        &made,
        Mode::from_bits_truncate(mode),
    )?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn makes_missing_parents_and_leaves_an_existing_directory() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("a/./b");
        make_path(&path, 0o750, None).expect("made");
        let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o7777;
        assert_eq!(mode(), 0o750);
        make_path(&path, 0o700, None).expect("there already");
        assert_eq!(mode(), 0o750);
        fs::write(temp.path().join("file"), "").expect("written");
        make_path(&temp.path().join("file/x"), 0o700, None).expect_err("no directory");
    }

    #[test]
    fn root_follows_symbolic_links_only_where_root_alone_can_write() {
        let temp = tempfile::tempdir().expect("a directory");
        let others = temp.path().join("others");
        let target = temp.path().join("target");
        for dir in [&others, &target] {
            fs::create_dir(dir).expect("made");
        }
        symlink(&target, others.join("link")).expect("made");
        symlink(&target, temp.path().join("link")).expect("made");
        make_path(&temp.path().join("link/1"), 0o700, None).expect("made");
        assert!(target.join("1").is_dir());
        fs::set_permissions(&others, fs::Permissions::from_mode(0o777)).expect("set");
        let made = make_path(&others.join("link/2"), 0o700, None);
        assert_eq!(made.is_err(), nix::unistd::geteuid().is_root(), "{made:?}");
        assert_eq!(target.join("2").exists(), made.is_ok());
    }

    #[test]
    fn root_makes_nothing_in_a_directory_of_the_new_owner() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("theirs/run");
        fs::create_dir(temp.path().join("theirs")).expect("made");
        std::os::unix::fs::chown(temp.path().join("theirs"), Some(1), None).expect("given");
        for path in [&path, &path.join("deeper")] {
            let error = make_path(path, 0o755, Some((1, 2))).expect_err("theirs to make");
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        }
        assert!(!path.exists());
        make_path(&path, 0o755, Some((3, 3))).expect("made for another user");
    }

    #[test]
    fn root_gives_a_directory_to_another_user() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("run");
        make_path(&path, 0o755, Some((1, 2))).expect("made");
        let meta = fs::metadata(&path).expect("there");
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o7777),
            (1, 2, 0o755)
        );
    }
}
