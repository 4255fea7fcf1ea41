//! Paths that no other user can redirect: a walk along a path that follows symbolic links of root and of this user
//! only.
//!
//! With a HOME that belongs to another user, a plain open(2) would follow the links that this user has made, and root
//! would change what they point to.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{fsync, geteuid};

/// As many symbolic links as the kernel follows.
const MOST_LINKS: usize = 40;

/// Whether a walk makes missing directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfMissing {
    Fail,
    /// Makes them with mode 0700, durably, but not in a directory of another user.
    Make,
}

/// Opens the directory at `path` with O_PATH. It belongs to this user.
///
/// # Errors
/// Those of openat(2) and mkdirat(2); `PermissionDenied` if it belongs to another user, or is reached through a
/// symbolic link of another user. Nothing is changed then.
pub(super) fn directory(path: &Path, missing: IfMissing) -> io::Result<OwnedFd> {
    let dir = walk(path, missing)?;
    let owner = stat(&dir)?.st_uid;
    match owner == own() {
        true => Ok(dir),
        false => Err(foreign(&format!("it belongs to uid {owner}"))),
    }
}

/// Returns the owner of the directory at `path`.
///
/// # Errors
/// As for [`directory`], but any user may own it.
pub(crate) fn owner(path: &Path) -> io::Result<u32> {
    Ok(stat(&walk(path, IfMissing::Fail)?)?.st_uid)
}

/// Opens the file at `path` for reading. It and its directory belong to root or to this user.
///
/// # Errors
/// Those of openat(2); `PermissionDenied` as for [`directory`].
pub(crate) fn file(path: &Path) -> io::Result<File> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let name = path.file_name().ok_or(Errno::EISDIR)?.to_owned();
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        let dir = walk(&parent, IfMissing::Fail)?;
        let found = openat(&dir, &*name, OFlag::O_PATH | NO_LINK, Mode::empty())?;
        let facts = stat(&found)?;
        let owner = stat(&dir)?.st_uid;
        if !is_trusted(owner) {
            return Err(foreign(&format!("its directory belongs to uid {owner}")));
        }
        if !is_trusted(facts.st_uid) {
            return Err(foreign(&format!("it belongs to uid {}", facts.st_uid)));
        }
        if is(&facts, SFlag::S_IFLNK) {
            path = parent.join(readlinkat(&found, "")?);
            continue;
        }
        // Not a device or a FIFO, on which open(2) could wait.
        if !is(&facts, SFlag::S_IFREG) {
            return Err(io::Error::other("it is not a regular file"));
        }
        return open_same(&dir, &name, &facts);
    }
    Err(Errno::ELOOP.into())
}

/// Opens the file `name` in `dir` for reading, if it is the one with these facts. Another user may have replaced it
/// since then, if its directory lets others write.
fn open_same(dir: &OwnedFd, name: &OsStr, facts: &FileStat) -> io::Result<File> {
    // A FIFO in its place must not block.
    let access = OFlag::O_RDONLY | OFlag::O_NONBLOCK | NO_LINK;
    let file = openat(dir, name, access, Mode::empty())?;
    let now = stat(&file)?;
    if (now.st_dev, now.st_ino, now.st_uid) != (facts.st_dev, facts.st_ino, facts.st_uid) {
        return Err(io::Error::other("it was replaced while it was opened"));
    }
    Ok(file.into())
}

const NO_LINK: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC);
const PLACE: OFlag = OFlag::O_PATH.union(NO_LINK);
const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// Opens the directory at `path`, of any owner, with O_PATH.
fn walk(path: &Path, missing: IfMissing) -> io::Result<OwnedFd> {
    let mut at = open(".", PLACE, Mode::empty())?;
    let mut links = 0;
    let mut rest = components(path);
    // For error messages.
    let mut walked = PathBuf::new();
    while let Some(name) = rest.pop_front() {
        if name == "/" {
            at = open("/", PLACE, Mode::empty())?;
            walked = "/".into();
            continue;
        }
        let next = match openat(&at, &*name, PLACE, Mode::empty()) {
            Err(Errno::ENOENT) if missing == IfMissing::Make => {
                make(&at, &name, &walked)?;
                openat(&at, &*name, PLACE, Mode::empty())?
            }
            found => found?,
        };
        let facts = stat(&next)?;
        if !is(&facts, SFlag::S_IFLNK) {
            at = next;
            walked.push(name);
            continue;
        }
        let link = walked.join(&name);
        if !is_trusted(facts.st_uid) {
            return Err(foreign(&format!(
                "{} is a symbolic link of uid {}",
                link.display(),
                facts.st_uid
            )));
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::ELOOP.into());
        }
        let target = readlinkat(&next, "")?;
        for component in components(Path::new(&target)).into_iter().rev() {
            rest.push_front(component);
        }
    }
    match is(&stat(&at)?, SFlag::S_IFDIR) {
        true => Ok(at),
        false => Err(Errno::ENOTDIR.into()),
    }
}

fn components(path: &Path) -> VecDeque<OsString> {
    let names = path
        .components()
        .filter(|component| !matches!(component, Component::CurDir));
    names.map(|name| name.as_os_str().to_owned()).collect()
}

/// Makes a directory in `at`, whose path is `path`, unless `at` belongs to another user.
fn make(at: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
    let owner = stat(at)?.st_uid;
    if !is_trusted(owner) {
        let path = path.display();
        return Err(foreign(&format!("{path} belongs to uid {owner}")));
    }
    match mkdirat(at, name, Mode::S_IRWXU) {
        // Another process has made it just now.
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(fsync(openat(at, ".", DIRECTORY, Mode::empty())?)?)
}

/// Returns whether no one but root and this user can have made or changed what belongs to `uid`.
fn is_trusted(uid: libc::uid_t) -> bool {
    uid == 0 || uid == own()
}

fn own() -> libc::uid_t {
    geteuid().as_raw()
}

fn foreign(what: &str) -> io::Error {
    let text = format!("{what}, but this program runs as uid {}", own());
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

fn stat(of: &OwnedFd) -> io::Result<FileStat> {
    Ok(fstatat(of, "", AtFlags::AT_EMPTY_PATH)?)
}

fn is(facts: &FileStat, kind: SFlag) -> bool {
    facts.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};

    use super::*;

    fn own_directory(path: &Path) -> io::Result<OwnedFd> {
        directory(path, IfMissing::Fail)
    }

    #[test]
    fn walks_along_links_of_this_user_and_makes_directories() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        symlink("real", at("link")).expect("linked");
        let inode = |dir: OwnedFd| stat(&dir).expect("known").st_ino;
        let made = directory(&at("link/../real/a/./b"), IfMissing::Fail);
        assert_eq!(made.expect_err("missing").kind(), io::ErrorKind::NotFound);
        fs::create_dir(at("real")).expect("made");
        let made = directory(&at("link/a/b"), IfMissing::Make).expect("made");
        let found = own_directory(&at("real/a/../a/b")).expect("found");
        assert_eq!(inode(made), inode(found));
        let mode = at("real/a").metadata().expect("known").permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        symlink(at("loop"), at("loop")).expect("linked");
        assert!(own_directory(&at("loop")).is_err());
        fs::write(at("file"), "text").expect("written");
        symlink("../file", at("real/file")).expect("linked");
        assert!(own_directory(&at("file")).is_err());
        let read = file(&at("link/file")).and_then(io::read_to_string);
        assert_eq!(read.expect("read"), "text");
        assert!(file(&at("real")).is_err(), "a directory");
    }

    #[test]
    fn a_file_that_is_replaced_after_the_check_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        fs::write(at("file"), "ours").expect("written");
        fs::write(at("other"), "theirs").expect("written");
        let dir = own_directory(place.path()).expect("opened");
        let name = OsStr::new("file");
        let found = openat(&dir, name, OFlag::O_PATH | NO_LINK, Mode::empty()).expect("found");
        let facts = stat(&found).expect("known");
        let read = open_same(&dir, name, &facts).and_then(io::read_to_string);
        assert_eq!(read.expect("as checked"), "ours");
        fs::rename(at("other"), at("file")).expect("replaced");
        let error = open_same(&dir, name, &facts).expect_err("replaced");
        assert!(error.to_string().contains("replaced"), "{error}");
        fs::remove_file(at("file")).expect("removed");
        nix::unistd::mkfifo(&at("file"), Mode::S_IRWXU).expect("made");
        assert!(open_same(&dir, name, &facts).is_err(), "without waiting");
    }

    #[test]
    fn what_belongs_to_another_user_is_refused_and_left_alone() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let give = |name: &str| lchown(at(name), Some(1), Some(1)).expect("given");
        fs::create_dir(at("ours")).expect("made");
        fs::write(at("ours/file"), "text").expect("written");
        symlink("ours", at("link")).expect("linked");
        give("link");
        for missing in [IfMissing::Fail, IfMissing::Make] {
            assert!(directory(&at("link"), missing).is_err());
            assert!(directory(&at("link/new"), missing).is_err());
        }
        assert!(file(&at("link/file")).is_err());
        assert!(!at("ours/new").exists());
        fs::create_dir(at("theirs")).expect("made");
        give("theirs");
        assert!(own_directory(&at("theirs")).is_err());
        assert!(directory(&at("theirs/new"), IfMissing::Make).is_err());
        assert!(!at("theirs/new").exists());
        assert_eq!(owner(&at("theirs")).expect("known"), 1);
        assert_eq!(at("theirs").metadata().expect("known").uid(), 1);
        fs::write(at("theirs/file"), "text").expect("written");
        assert!(file(&at("theirs/file")).is_err());
        give("ours/file");
        assert!(file(&at("ours/file")).is_err());
    }
}
