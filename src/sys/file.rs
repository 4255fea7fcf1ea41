//! File operations that the standard library lacks, mostly for the store.

use std::fs::File;
use std::io;
use std::ops::Range;
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

/// The metadata of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// The length in bytes.
    pub(crate) len: u64,
    /// The number of bytes of its blocks on the disk. A file with holes has fewer than `len`.
    pub(crate) allocated: u64,
    /// Whether the file still has a name. A file that was replaced has none.
    pub(crate) named: bool,
    /// Whether its mode lets the owner write it.
    pub(crate) writable: bool,
}

/// Returns the metadata of `file` (fstat(2)).
pub(crate) fn facts(file: &File) -> io::Result<Facts> {
    let meta = file.metadata()?;
    Ok(Facts {
        len: meta.len(),
        allocated: meta.blocks() * 512,
        named: meta.nlink() > 0,
        writable: meta.mode() & 0o200 != 0,
    })
}

/// Reads from `offset` until `buf` is full or the file ends. Returns the number of bytes read.
///
/// # Errors
/// Those of `pread(2)`, except EINTR.
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
/// Those of `pwrite(2)`, except EINTR.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    operation_log::record(|| {
        operation_log::Op::Write(operation_log::number(file), offset, bytes.to_vec())
    })?;
    file.write_all_at(bytes, offset)
}

/// Reads a text of at most `most` bytes from `path`: a regular file, /dev/null, or a pipe whose writer closes it within
/// `timeout`.
///
/// # Errors
/// Those of `open(2)` and `read(2)`. When the text is too long or not UTF-8, `path` is of another type, or the pipe has
/// no writer or does not end in time.
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
            "it is neither a regular file nor a pipe",
        );
    }
    let deadline = Deadline::after(timeout);
    let (mut text, mut part) = (Vec::new(), [0; 8_192]);
    loop {
        match file.read(&mut part) {
            // A FIFO without a writer is at end of file at once, because it was opened with O_NONBLOCK.
            Ok(0) if kind.is_fifo() && text.is_empty() => {
                return said(io::ErrorKind::InvalidInput, "it is a pipe without a writer");
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
                    "it is a pipe, and its writer did not finish in time",
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

/// Sets the mode of `file` to 0400 (fchmod(2)): only the owner may read it, and no user may write it.
pub(crate) fn make_read_only(file: &File) -> io::Result<()> {
    Ok(nix::sys::stat::fchmod(file, Mode::S_IRUSR)?)
}

/// Sets the mode of `file` to 0600 (fchmod(2)): only the owner may read and write it.
pub(crate) fn make_writable(file: &File) -> io::Result<()> {
    Ok(nix::sys::stat::fchmod(file, Mode::S_IRUSR | Mode::S_IWUSR)?)
}

/// Gives `file` the group of this process and sets its mode to 0640: the group may read it.
///
/// # Errors
/// Those of `fchown(2)` and `fchmod(2)`.
pub(crate) fn let_group_read(file: &File) -> io::Result<()> {
    // A directory with the setgid bit gives new files its own group.
    nix::unistd::fchown(file, None, Some(nix::unistd::getegid()))?;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP;
    Ok(nix::sys::stat::fchmod(file, mode)?)
}

/// Starts writing the dirty pages of `file` to the disk, without waiting. This is only a hint. It lets the writes of
/// several files overlap before the first [`sync`].
pub(crate) fn begin_sync(file: &File) {
    // SAFETY: sync_file_range(2) takes a descriptor and integers.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Drops the cached pages of `file` (posix_fadvise(2)), so that the next read comes from the disk.
pub(crate) fn forget_cached(file: &File) -> io::Result<()> {
    Ok(nix::fcntl::posix_fadvise(
        file,
        0,
        0,
        PosixFadviseAdvice::POSIX_FADV_DONTNEED,
    )?)
}

/// Deallocates the bytes from `from` to `to` of `file`, which then read as zeros. Returns `false` if the file system
/// does not support this.
///
/// # Errors
/// Those of `fallocate(2)`, except EOPNOTSUPP.
pub(crate) fn punch(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let (Ok(offset), Ok(len)) = (i64::try_from(from), i64::try_from(to.saturating_sub(from)))
    else {
        return Ok(true);
    };
    #[cfg(test)]
    operation_log::record(|| operation_log::Op::Punch(operation_log::number(file), from, to))?;
    match nix::fcntl::fallocate(file, mode, offset, len) {
        Ok(()) => Ok(true),
        Err(Errno::EOPNOTSUPP) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The free and total space of a file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Free {
    /// Bytes available to unprivileged users; `u64::MAX` where the file system does not report its size.
    pub(crate) bytes: u64,
    /// Inodes available to unprivileged users; `None` where the file system does not limit them.
    pub(crate) inodes: Option<u64>,
    /// The total number of bytes.
    pub(crate) all_bytes: u64,
    /// The total number of inodes.
    pub(crate) all_inodes: u64,
}

/// Returns the free and total space of the file system that contains `file` (fstatvfs(3)).
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

/// Returns whether the file system that contains `file` is mounted read-only (fstatvfs(3)).
pub(crate) fn is_read_only(file: impl AsFd) -> io::Result<bool> {
    let stat = nix::sys::statvfs::fstatvfs(file)?;
    Ok(stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
}

/// Returns whether the mode of `file` lets its owner write, and its file system is not mounted read-only.
pub(crate) fn can_be_written(file: &File) -> io::Result<bool> {
    Ok(facts(file)?.writable && !is_read_only(file)?)
}

/// Copies the bytes of `range` from the file `from` to the same offsets of the file `to`.
pub(crate) fn copy(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let mut bytes = vec![0; 256 * 1024];
    let mut offset = range.start;
    while offset < range.end {
        let left = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
        let most = bytes.len().min(left);
        let n = read_at(from, &mut bytes[..most], offset)?;
        if n == 0 {
            return Ok(());
        }
        write_at(to, &bytes[..n], offset)?;
        offset += n as u64;
    }
    Ok(())
}

/// Truncates `file` to `len` bytes (ftruncate(2)).
pub(crate) fn truncate(file: &File, len: u64) -> io::Result<()> {
    #[cfg(test)]
    operation_log::record(|| operation_log::Op::Truncate(operation_log::number(file), len))?;
    file.set_len(len)
}

/// Extends the empty `file` to `len` bytes and allocates all of its blocks, so that a store to a mapping of it cannot
/// run out of disk space.
///
/// # Errors
/// Those of `fallocate(2)`: ENOSPC when there is no room. Where it is not supported, those of `pwrite(2)`.
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

/// Waits until the contents and the length of `file` are durable (fdatasync).
///
/// # Errors
/// Those of `fdatasync(2)`. An error is final: the kernel may have dropped the pages that it could not write,
/// and a second call may then succeed without having written them.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_data()?;
    #[cfg(test)]
    operation_log::record(|| operation_log::Op::Sync(operation_log::number(file)))?;
    Ok(())
}

/// Opens the pipe or terminal on standard error again, non-blocking, so that a stalled reader cannot block this
/// process. Setting O_NONBLOCK on standard error would affect all processes that share it.
///
/// # Errors
/// Those of `open(2)`: ENXIO for a socket, EACCES for a terminal of another user. `Unsupported` for a regular file: it
/// never blocks, and other writers share the position of the original description.
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

/// Returns a duplicate of the descriptor `number`, which this process inherited from its parent.
///
/// # Errors
/// EBADF when it is not open.
pub(crate) fn inherited(number: i32) -> io::Result<File> {
    // SAFETY: F_DUPFD_CLOEXEC touches no memory.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the duplicate has no other owner. The original stays open, as standard output and error must.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(copy) }))
}
