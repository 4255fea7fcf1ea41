//! Directories, for programs that mean it: what is in them is opened relative to a handle, never through a symbolic
//! link, closed on exec, readable by the owner alone.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

#[cfg(test)]
use crate::sys::operation_log;

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

/// A directory that is open, and the path under which it was opened (for error messages only).
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens the directory at `path`. The last component must not be a symbolic link.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let fd = nix::fcntl::open(path, DIRECTORY, Mode::empty())?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// Opens the directory `name` in this one.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub(crate) fn sub(&self, name: &str) -> io::Result<Self> {
        let fd = nix::fcntl::openat(&self.fd, name, DIRECTORY, Mode::empty())?;
        Ok(Self {
            fd,
            path: self.path.join(name),
        })
    }

    /// The same directory, opened once more: a description, and locks, of its own.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub(crate) fn reopened(&self) -> io::Result<File> {
        Ok(nix::fcntl::openat(&self.fd, ".", DIRECTORY, Mode::empty())?.into())
    }

    /// Makes the directory `name` in this one, for the owner alone (0700). One that is there already is
    /// left as it is.
    ///
    /// # Errors
    /// Those of `mkdirat(2)`, but for EEXIST.
    pub(crate) fn make_dir(&self, name: &str) -> io::Result<()> {
        match nix::sys::stat::mkdirat(&self.fd, name, Mode::S_IRWXU) {
            Ok(()) => {
                #[cfg(test)]
                operation_log::record(|| operation_log::Op::MakeDir(self.path_of(name)));
                Ok(())
            }
            Err(Errno::EEXIST) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens the file `name`, for reading only where we may not write it; `None` when there is none.
    ///
    /// # Errors
    /// Those of `openat(2)`, but for ENOENT.
    pub(crate) fn file(&self, name: &str) -> io::Result<Option<File>> {
        let open = |access| nix::fcntl::openat(&self.fd, name, access, Mode::empty());
        match open(ACCESS) {
            Err(Errno::EACCES | Errno::EROFS) => Ok(Some(open(READ_ONLY)?.into())),
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens the file `name`, made empty and for the owner alone (0600) when there is none.
    ///
    /// # Errors
    /// Those of `openat(2)`.
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
            });
        }
        Ok(file)
    }

    /// Opens the FIFO `name`, made for the owner alone (0600) when there is none, so that it can be waited for:
    /// it never blocks, and never ends.
    ///
    /// # Errors
    /// Those of `mkfifoat(3)`, but for EEXIST, and of `openat(2)`.
    pub(crate) fn fifo_or_new(&self, name: &str) -> io::Result<File> {
        match nix::unistd::mkfifoat(&self.fd, name, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e.into()),
        }
        let access = ACCESS | OFlag::O_NONBLOCK;
        Ok(nix::fcntl::openat(&self.fd, name, access, Mode::empty())?.into())
    }

    /// Writes a byte into the FIFO `name`, if somebody has it open. Best effort: one that is full has enough to
    /// wake its reader.
    pub(crate) fn poke(&self, name: &str) {
        let access = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        if let Ok(fifo) = nix::fcntl::openat(&self.fd, name, access, Mode::empty()) {
            let _ = nix::unistd::write(&fifo, b"\n");
        }
    }

    /// Gives the file `from` the name `to`, in place of a file that has it.
    ///
    /// # Errors
    /// Those of `renameat(2)`.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        #[cfg(test)]
        operation_log::record(|| operation_log::Op::Rename(self.path_of(from), self.path_of(to)));
        Ok(nix::fcntl::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes the file `name`.
    ///
    /// # Errors
    /// Those of `unlinkat(2)`.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        #[cfg(test)]
        operation_log::record(|| operation_log::Op::Remove(self.path_of(name)));
        Ok(nix::unistd::unlinkat(
            &self.fd,
            name,
            UnlinkatFlags::NoRemoveDir,
        )?)
    }

    /// The names of what is in it, in no order.
    ///
    /// # Errors
    /// Those of `getdents(2)`.
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

    /// Waits until the names in it are on the disk.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    pub(crate) fn sync(&self) -> io::Result<()> {
        nix::unistd::fsync(&self.fd)?;
        #[cfg(test)]
        operation_log::record(|| operation_log::Op::SyncDir(self.path.clone()));
        Ok(())
    }

    /// Whether the directory belongs to us and nobody else may do anything in it, or why not.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub(crate) fn privacy(&self) -> io::Result<Result<(), String>> {
        let stat = nix::sys::stat::fstatat(&self.fd, "", AtFlags::AT_EMPTY_PATH)?;
        let owner = nix::unistd::geteuid().as_raw();
        Ok(if stat.st_uid != owner {
            Err(format!(
                "it belongs to user number {}, not to the one that runs this program ({owner})",
                stat.st_uid
            ))
        } else if stat.st_mode & 0o077 != 0 {
            Err(format!(
                "others may enter it (mode {:04o}); `chmod 0700` it",
                stat.st_mode & 0o7777
            ))
        } else {
            Ok(())
        })
    }

    /// Whose it is, and its mode.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub(crate) fn owner_and_mode(&self) -> io::Result<(u32, u32)> {
        let stat = nix::sys::stat::fstatat(&self.fd, "", AtFlags::AT_EMPTY_PATH)?;
        Ok((stat.st_uid, stat.st_mode & 0o7777))
    }

    /// The number of the user that this program runs as.
    pub(crate) fn own_user() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    /// Closes it to everybody but its owner (0700).
    ///
    /// # Errors
    /// Those of `fchmod(2)`: EPERM when it belongs to somebody else.
    pub(crate) fn make_private(&self) -> io::Result<()> {
        Ok(nix::sys::stat::fchmod(&self.fd, Mode::S_IRWXU)?)
    }

    /// Where it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in it, for an error message.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(std::ffi::OsStr::from_bytes(name.as_bytes()))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
