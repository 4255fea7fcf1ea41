//! Files and directories, for programs that mean it: opened relative to a directory handle, never
//! through a symbolic link, closed on exec, readable by the owner alone.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FallocateFlags, OFlag, PosixFadviseAdvice};
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Want};
#[cfg(test)]
use crate::sys::tape;

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
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
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
            tape::record(|| tape::Op::Create(self.path_of(name), tape::number(&file)));
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
        tape::record(|| tape::Op::Rename(self.path_of(from), self.path_of(to)));
        Ok(nix::fcntl::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes the file `name`.
    ///
    /// # Errors
    /// Those of `unlinkat(2)`.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        #[cfg(test)]
        tape::record(|| tape::Op::Remove(self.path_of(name)));
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
        tape::record(|| tape::Op::SyncDir(self.path.clone()));
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

/// What the store needs to know of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Its length in bytes.
    pub(crate) len: u64,
    /// Whether it still has a name: a file that was replaced has none.
    pub(crate) named: bool,
    /// Whether its owner may write it.
    pub(crate) writable: bool,
}

/// The facts about `file`.
///
/// # Errors
/// Those of `fstat(2)`.
pub(crate) fn facts(file: &File) -> io::Result<Facts> {
    let meta = file.metadata()?;
    Ok(Facts {
        len: meta.len(),
        named: meta.nlink() > 0,
        writable: meta.mode() & 0o200 != 0,
    })
}

/// Fills `buf` from `offset` on; returns how many bytes there were before the end of the file.
///
/// # Errors
/// Those of `pread(2)`, but for EINTR.
pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut have = 0;
    while have < buf.len() {
        match file.read_at(&mut buf[have..], offset + have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}

/// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
///
/// # Errors
/// Those of `pwrite(2)`, but for EINTR.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    tape::record(|| tape::Op::Write(tape::number(file), offset, bytes.to_vec()));
    file.write_all_at(bytes, offset)
}

/// The text at `path`: of a file, or of a pipe that somebody writes to now and closes. At most `most` bytes are read,
/// and whoever has said nothing for `patience` is not waited for.
///
/// # Errors
/// Those of `open(2)` and `read(2)`, with a sentence for what is longer, is neither, or comes to no end.
pub(crate) fn read_small(path: &Path, most: usize, patience: Duration) -> io::Result<String> {
    use std::io::Read as _;
    use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
    let said = |kind, what: &str| Err(io::Error::new(kind, what));
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let mut file = File::options()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_fifo() && path != Path::new("/dev/null") {
        return said(
            io::ErrorKind::InvalidInput,
            "it is neither a file nor a pipe",
        );
    }
    let deadline = Deadline::after(patience);
    let (mut text, mut part) = (Vec::new(), [0; 8_192]);
    loop {
        match file.read(&mut part) {
            // A named pipe that nobody has opened for writing ends at once.
            Ok(0) if kind.is_fifo() && text.is_empty() => {
                return said(
                    io::ErrorKind::InvalidInput,
                    "it is a pipe that nobody writes to",
                );
            }
            Ok(0) => break,
            Ok(n) => text.extend_from_slice(&part[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !deadline.passed() => {
                poll::wait(&[(file.as_fd(), Want::Read)], Some(deadline.left()))?;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return said(
                    io::ErrorKind::TimedOut,
                    "it is a pipe that is written to too slowly",
                );
            }
            Err(e) => return Err(e),
        }
        if text.len() > most {
            let what = format!("it is longer than {most} bytes");
            return said(io::ErrorKind::FileTooLarge, &what);
        }
    }
    String::from_utf8(text).or_else(|_| said(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Takes the right to write it from everybody, its owner included.
///
/// # Errors
/// Those of `fchmod(2)`.
pub(crate) fn make_read_only(file: &File) -> io::Result<()> {
    Ok(nix::sys::stat::fchmod(file, Mode::S_IRUSR)?)
}

/// Lets everybody read it, and only its owner write it (0644).
///
/// # Errors
/// Those of `fchmod(2)`.
pub(crate) fn let_all_read(file: &File) -> io::Result<()> {
    let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH;
    Ok(nix::sys::stat::fchmod(file, mode)?)
}

/// Begins to write to the disk what has been written to `file`, and does not wait. Only a hint: with
/// several files to sync, all are on their way before the first is waited for.
pub(crate) fn begin_sync(file: &File) {
    // SAFETY: sync_file_range(2) takes a descriptor and integers, and touches no memory of ours.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Makes the kernel read `file` from the disk again.
///
/// # Errors
/// Those of `posix_fadvise(2)`.
pub(crate) fn forget_cached(file: &File) -> io::Result<()> {
    Ok(nix::fcntl::posix_fadvise(
        file,
        0,
        0,
        PosixFadviseAdvice::POSIX_FADV_DONTNEED,
    )?)
}

/// Gives the bytes from `from` to `to` of `file` back to the file system; they read as zeros then. Returns
/// whether the file system can do that.
///
/// # Errors
/// Those of `fallocate(2)`, but for EOPNOTSUPP.
pub(crate) fn punch(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let (Ok(offset), Ok(len)) = (i64::try_from(from), i64::try_from(to.saturating_sub(from)))
    else {
        return Ok(true);
    };
    #[cfg(test)]
    tape::record(|| tape::Op::Punch(tape::number(file), from, to));
    match nix::fcntl::fallocate(file, mode, offset, len) {
        Ok(()) => Ok(true),
        Err(Errno::EOPNOTSUPP) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// What is free in the file system that `file` is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Free {
    /// Bytes that we may still use; the most there can be where the file system does not count.
    pub(crate) bytes: u64,
    /// Files that we may still make; `None` where the file system has no limit of its own.
    pub(crate) inodes: Option<u64>,
    /// Bytes that the file system has in all.
    pub(crate) all_bytes: u64,
    /// Files that it has in all.
    pub(crate) all_inodes: u64,
}

/// What is free around `file`.
///
/// # Errors
/// Those of `fstatvfs(3)`.
pub(crate) fn free(file: impl AsFd) -> io::Result<Free> {
    let stat = nix::sys::statvfs::fstatvfs(file)?;
    let bytes = stat.blocks_available().saturating_mul(stat.fragment_size());
    Ok(Free {
        bytes: if stat.blocks() == 0 { u64::MAX } else { bytes },
        inodes: (stat.files() > 0).then_some(stat.files_available()),
        all_bytes: stat.blocks().saturating_mul(stat.fragment_size()),
        all_inodes: stat.files(),
    })
}

/// Cuts `file` to `len` bytes.
///
/// # Errors
/// Those of `ftruncate(2)`.
pub(crate) fn truncate(file: &File, len: u64) -> io::Result<()> {
    #[cfg(test)]
    tape::record(|| tape::Op::Truncate(tape::number(file), len));
    file.set_len(len)
}

/// Makes `file` `len` bytes long, all of which the disk has room for from now on: whoever writes to a mapping of it finds
/// it there.
///
/// # Errors
/// Those of `fallocate(2)`: ENOSPC when there is no room. Where the file system cannot do that, those of `pwrite(2)`.
pub(crate) fn reserve(file: &File, len: u64) -> io::Result<()> {
    let bytes = i64::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        match nix::fcntl::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => break,
            Err(e) => return Err(e.into()),
        }
    }
    let zeros = [0; 1 << 16];
    for at in (0..len).step_by(zeros.len()) {
        let n = usize::try_from(len - at).unwrap_or(zeros.len());
        file.write_all_at(&zeros[..n.min(zeros.len())], at)?;
    }
    Ok(())
}

/// Waits until the contents and the length of `file` are on the disk (fdatasync).
///
/// # Errors
/// Those of `fdatasync(2)`. An error is final: what the kernel could not write it may have forgotten,
/// and a second call may succeed without having written it.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_data()?;
    #[cfg(test)]
    tape::record(|| tape::Op::Sync(tape::number(file)));
    Ok(())
}

/// A second, non-blocking description of the pipe or terminal that is standard error, so that whoever
/// does not read it cannot stop us. (Setting O_NONBLOCK on it would set it for everybody who shares it.)
///
/// # Errors
/// Those of `open(2)`: ENXIO for a socket, EACCES for somebody else's terminal. `Unsupported` for a plain file, which
/// never blocks, and whose position is shared with whoever else writes there.
pub(crate) fn standard_error_without_blocking() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    if std::fs::metadata("/proc/self/fd/2")?.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    File::options()
        .append(true)
        .custom_flags(flags.bits())
        .open("/proc/self/fd/2")
}

/// A descriptor that whoever started this program has left open for it, by its number.
///
/// # Errors
/// EBADF when there is none.
pub(crate) fn inherited(number: i32) -> io::Result<File> {
    // SAFETY: F_DUPFD_CLOEXEC touches no memory, and the descriptor that it makes is nobody else's.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above; the number itself stays open, as standard output and error must.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(copy) }))
}
