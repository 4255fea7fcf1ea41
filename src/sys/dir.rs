//! Directories as descriptors. Files are opened relative to one, never through a symbolic link, and with O_CLOEXEC. New
//! files are accessible by their owner only.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::UnlinkatFlags;

#[cfg(test)]
use crate::sys::operation_log;
use crate::sys::own_path::{self, IfMissing};

/// Open for reading and writing.
const ACCESS: OFlag = OFlag::O_RDWR
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
const READ_ONLY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// An open directory, and the path that it was opened by (for error messages only).
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens the directory at `path` (open(2)). The last component must not be a symbolic link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let fd = nix::fcntl::open(path, DIRECTORY, Mode::empty())?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// Opens the directory at `path`, which must belong to this user, see [`own_path`].
    ///
    /// # Errors
    /// It belongs to another user, is reached through a symbolic link of another user, or cannot be opened.
    pub(crate) fn open_own(path: &Path, missing: IfMissing) -> io::Result<Self> {
        let place = own_path::directory(path, missing)?;
        let fd = nix::fcntl::openat(&place, ".", DIRECTORY, Mode::empty())?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// Opens the directory `name` in this one (openat(2)).
    pub(crate) fn sub(&self, name: &str) -> io::Result<Self> {
        let fd = nix::fcntl::openat(&self.fd, name, DIRECTORY, Mode::empty())?;
        Ok(Self {
            fd,
            path: self.path.join(name),
        })
    }

    /// Opens the directory again, as a new open file description with its own locks.
    pub(crate) fn reopened(&self) -> io::Result<File> {
        Ok(nix::fcntl::openat(&self.fd, ".", DIRECTORY, Mode::empty())?.into())
    }

    /// Makes the directory `name` in this one with mode 0700. Leaves an existing one as it is.
    ///
    /// # Errors
    /// Those of `mkdirat(2)`, except EEXIST.
    pub(crate) fn make_dir(&self, name: &str) -> io::Result<()> {
        match nix::sys::stat::mkdirat(&self.fd, name, Mode::S_IRWXU) {
            Ok(()) => {
                #[cfg(test)]
                operation_log::record(|| operation_log::Op::MakeDir(self.path_of(name)))?;
                Ok(())
            }
            Err(Errno::EEXIST) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens the file `name`, read-only where this process may not write it. Returns `None` when it does not exist.
    ///
    /// # Errors
    /// Those of `openat(2)`, except ENOENT.
    pub(crate) fn file(&self, name: &str) -> io::Result<Option<File>> {
        let open = |access| nix::fcntl::openat(&self.fd, name, access, Mode::empty());
        match open(ACCESS) {
            Err(Errno::EACCES | Errno::EROFS) => Ok(Some(open(READ_ONLY)?.into())),
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens the file `name` (openat(2)), or creates it empty with mode 0600.
    pub(crate) fn file_or_new(&self, name: &str) -> io::Result<File> {
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        #[cfg(test)]
        let is_new = self.file(name)?.is_none();
        let fd = nix::fcntl::openat(&self.fd, name, ACCESS | OFlag::O_CREAT, mode)?;
        let file = File::from(fd);
        #[cfg(test)]
        if is_new {
            operation_log::record(|| {
                operation_log::Op::Create(self.path_of(name), operation_log::number(&file))
            })?;
        }
        Ok(file)
    }

    /// Creates the file `name` with mode 0600, in place of an existing one, which another process may have open.
    ///
    /// # Errors
    /// Those of `unlinkat(2)`, except ENOENT, and of `openat(2)`.
    pub(crate) fn new_file(&self, name: &str) -> io::Result<File> {
        match nix::unistd::unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let access = ACCESS | OFlag::O_CREAT | OFlag::O_EXCL;
        Ok(nix::fcntl::openat(&self.fd, name, access, mode)?.into())
    }

    /// Opens the FIFO `name` for polling, or creates it with mode 0600. It is open for reading and writing, so it
    /// never reaches end of file; it does not block.
    ///
    /// # Errors
    /// Those of `mkfifoat(3)`, except EEXIST, and of `openat(2)`.
    pub(crate) fn fifo_or_new(&self, name: &str) -> io::Result<File> {
        match nix::unistd::mkfifoat(&self.fd, name, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e.into()),
        }
        let access = ACCESS | OFlag::O_NONBLOCK;
        Ok(nix::fcntl::openat(&self.fd, name, access, Mode::empty())?.into())
    }

    /// Writes a byte into the FIFO `name` if a process has it open for reading. Best effort: the contents of a
    /// full FIFO wake the reader as well.
    pub(crate) fn poke(&self, name: &str) {
        let access = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        if let Ok(fifo) = nix::fcntl::openat(&self.fd, name, access, Mode::empty()) {
            let _ = nix::unistd::write(&fifo, b"\n");
        }
    }

    /// Renames the file `from` to `to` (renameat(2)), replacing an existing file atomically.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        #[cfg(test)]
        operation_log::record(|| operation_log::Op::Rename(self.path_of(from), self.path_of(to)))?;
        Ok(nix::fcntl::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes the file `name` (unlinkat(2)).
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        #[cfg(test)]
        operation_log::record(|| operation_log::Op::Remove(self.path_of(name)))?;
        Ok(nix::unistd::unlinkat(
            &self.fd,
            name,
            UnlinkatFlags::NoRemoveDir,
        )?)
    }

    /// Returns the names of all entries, in no particular order (getdents(2)).
    pub(crate) fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut dir = nix::dir::Dir::openat(&self.fd, ".", DIRECTORY, Mode::empty())?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Waits until the entries of the directory are durable (fsync(2)).
    pub(crate) fn sync(&self) -> io::Result<()> {
        nix::unistd::fsync(&self.fd)?;
        #[cfg(test)]
        operation_log::record(|| operation_log::Op::SyncDir(self.path.clone()))?;
        Ok(())
    }

    /// Checks that this user owns the directory, and that no other user has access to it. Returns the reason why not as
    /// the inner error, and those of fstat(2) as the outer one.
    pub(crate) fn privacy(&self) -> io::Result<Result<(), String>> {
        let stat = nix::sys::stat::fstatat(&self.fd, "", AtFlags::AT_EMPTY_PATH)?;
        let owner = nix::unistd::geteuid().as_raw();
        Ok(if stat.st_uid != owner {
            Err(format!(
                "it belongs to uid {}, but this program runs as uid {owner}",
                stat.st_uid
            ))
        } else if stat.st_mode & 0o077 != 0 {
            Err(format!(
                "other users have access to it (mode {:04o}); `chmod 0700` it",
                stat.st_mode & 0o7777
            ))
        } else {
            Ok(())
        })
    }

    /// Returns the user ID of the owner, and the mode (fstat(2)).
    pub(crate) fn owner_and_mode(&self) -> io::Result<(u32, u32)> {
        let stat = nix::sys::stat::fstatat(&self.fd, "", AtFlags::AT_EMPTY_PATH)?;
        Ok((stat.st_uid, stat.st_mode & 0o7777))
    }

    /// Returns whether this is the same directory as `other`, whatever their paths.
    pub(crate) fn is(&self, other: &Self) -> io::Result<bool> {
        let place = |dir: &Self| {
            let stat = nix::sys::stat::fstatat(&dir.fd, "", AtFlags::AT_EMPTY_PATH)?;
            Ok::<_, io::Error>((stat.st_dev, stat.st_ino))
        };
        Ok(place(self)? == place(other)?)
    }

    /// Returns the disk space that the file `name` takes, in bytes; 0 when it does not exist (fstatat(2)).
    pub(crate) fn allocated(&self, name: &str) -> io::Result<u64> {
        match nix::sys::stat::fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            // The unit of st_blocks is 512 bytes.
            Ok(stat) => Ok(u64::try_from(stat.st_blocks).unwrap_or_default() * 512),
            Err(Errno::ENOENT) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }

    /// Returns whether the file `name` is a socket; `None` when it does not exist.
    pub(crate) fn is_socket(&self, name: &str) -> io::Result<Option<bool>> {
        match nix::sys::stat::fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
                Ok(Some(kind == SFlag::S_IFSOCK))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Returns the effective user ID of this process.
    pub(crate) fn own_user() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    /// Sets the mode of the directory to 0700.
    ///
    /// # Errors
    /// Those of `fchmod(2)`: EPERM when another user owns it.
    pub(crate) fn make_private(&self) -> io::Result<()> {
        Ok(nix::sys::stat::fchmod(&self.fd, Mode::S_IRWXU)?)
    }

    /// Returns the path that it was opened by.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of `name` in it, for an error message.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(std::ffi::OsStr::from_bytes(name.as_bytes()))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
