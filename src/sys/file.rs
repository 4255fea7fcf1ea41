//! Files: what the store asks of them beyond the standard library.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice};
use nix::sys::stat::Mode;

use crate::sys::clock::Deadline;
#[cfg(test)]
use crate::sys::operation_log;
use crate::sys::poll::{self, Want};

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
    operation_log::record(|| {
        operation_log::Op::Write(operation_log::number(file), offset, bytes.to_vec())
    });
    file.write_all_at(bytes, offset)
}

/// The text at `path`: of a file, or of a pipe that somebody writes to now and closes. At most `most` bytes are read,
/// and a pipe whose writer is silent for `timeout` is an error.
///
/// # Errors
/// Those of `open(2)` and `read(2)`, with a sentence for what is longer, is neither, or comes to no end.
pub(crate) fn read_small(path: &Path, most: usize, timeout: Duration) -> io::Result<String> {
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
    let deadline = Deadline::after(timeout);
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

/// Gives its owner the right to write it.
///
/// # Errors
/// Those of `fchmod(2)`.
pub(crate) fn make_writable(file: &File) -> io::Result<()> {
    Ok(nix::sys::stat::fchmod(file, Mode::S_IRUSR | Mode::S_IWUSR)?)
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
    operation_log::record(|| operation_log::Op::Punch(operation_log::number(file), from, to));
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

/// Whether the file system that `file` is in is mounted read-only.
///
/// # Errors
/// Those of `fstatvfs(3)`.
pub(crate) fn is_read_only(file: impl AsFd) -> io::Result<bool> {
    let stat = nix::sys::statvfs::fstatvfs(file)?;
    Ok(stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
}

/// Cuts `file` to `len` bytes.
///
/// # Errors
/// Those of `ftruncate(2)`.
pub(crate) fn truncate(file: &File, len: u64) -> io::Result<()> {
    #[cfg(test)]
    operation_log::record(|| operation_log::Op::Truncate(operation_log::number(file), len));
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
    let zeros = vec![0; 1 << 16];
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
    operation_log::record(|| operation_log::Op::Sync(operation_log::number(file)));
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
