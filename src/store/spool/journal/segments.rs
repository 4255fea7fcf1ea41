//! The files of the journal: two segments, used in turn. While one is filled, the entries of the other are settled.
//!
//! ```text
//! a segment                     a batch                               in it, for each entry
//! 0    magic     u32            0   magic     u32                     0  length  u32
//! 4    checksum  u32, of 8..16  4   checksum  u32, of all behind it   4  the entry
//! 8    run       u32            8   length    u32, of all behind 16
//! 12   length    u32, of it     12  run       u32
//! 512  batches
//! ```
//!
//! An empty segment has zeros in place of its header and of the head of its first batch.
//!
//! A batch is one write and one fdatasync(2). The length and the blocks of the file are fixed, so that the file system
//! writes no metadata. The checksums are seeded with the run, a random number of each filling, and the offset, so that
//! data of an earlier filling never passes for a batch. An incomplete batch is the last one, and no submitter has been
//! told that it is durable.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::store::StoreError;
use crate::store::spool::format::record::{checksum, u32_at};
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::Locked;
use crate::sys::random;

/// The length of a segment, in bytes.
pub(super) const SEGMENT: u64 = 4 << 20;
/// How long the writer waits for the lock of a segment.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// The file names of the segments.
pub(super) const NAMES: [&str; 2] = ["0", "1"];
const MAGIC: [u8; 4] = *b"DlJ\x01";
const BATCH_MAGIC: [u8; 4] = *b"DlB\x01";
const HEADER: usize = 512;
const BATCH: usize = 16;

/// Entries that are gathered for one write.
#[derive(Debug, Default)]
pub(super) struct JournalBatch(Vec<u8>);

impl JournalBatch {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn push(&mut self, entry: &[u8]) {
        if self.0.is_empty() {
            self.0.resize(BATCH, 0);
        }
        self.0
            .extend_from_slice(&u32_len(entry.len()).to_le_bytes());
        self.0.extend_from_slice(entry);
    }

    /// Adds padding, length and checksum, and returns the bytes to write at `at`.
    fn sealed(&mut self, run: u32, at: u64) -> &[u8] {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let len = u32_len(self.0.len() - BATCH);
        self.0[..4].copy_from_slice(&BATCH_MAGIC);
        self.0[8..12].copy_from_slice(&len.to_le_bytes());
        self.0[12..16].copy_from_slice(&run.to_le_bytes());
        let sum = checksum(&self.0[8..], run, at);
        self.0[4..8].copy_from_slice(&sum.to_le_bytes());
        &self.0
    }
}

/// The journal, for the process that writes it.
#[derive(Debug)]
pub(super) struct JournalLog {
    segments: [Locked; 2],
    len: u64,
    /// Whether a segment may hold messages that are nowhere else on the disk.
    used: [bool; 2],
    /// The current segment, which is being filled.
    now: usize,
    run: u32,
    at: u64,
}

impl JournalLog {
    /// Opens the segments, each `len` bytes long, and creates missing ones. They must be empty.
    ///
    /// # Errors
    /// System errors.
    pub(super) fn open(dir: &Dir, len: u64) -> io::Result<Self> {
        let open = |name| {
            let segment = own(dir.file_or_new(name)?, LOCK_TIMEOUT)?;
            let file = segment.file();
            if file::facts(file)?.len != len {
                fill(file, len)?;
            }
            Ok::<_, io::Error>(segment)
        };
        let segments = [open(NAMES[0])?, open(NAMES[1])?];
        dir.sync()?;
        let mut log = Self {
            segments,
            len,
            used: [false; 2],
            now: 0,
            run: 0,
            at: 0,
        };
        log.begin(0)?;
        Ok(log)
    }

    fn begin(&mut self, segment: usize) -> io::Result<()> {
        let run = u32::from_le_bytes(random::array()?);
        (self.now, self.run, self.at) = (segment, run, 0);
        Ok(())
    }

    /// Returns whether the current segment has room for `batch`.
    pub(super) fn has_room(&self, batch: &JournalBatch) -> bool {
        self.at.max(HEADER as u64) + batch.0.len() as u64 + 8 <= self.len
    }

    /// Switches to the other segment if that is empty, and returns whether it was. The full one must then be emptied.
    ///
    /// # Errors
    /// When `getrandom(2)` fails.
    pub(super) fn turn(&mut self) -> io::Result<bool> {
        let other = 1 - self.now;
        if !self.used[other] {
            self.begin(other)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Writes and syncs a batch. The current segment must have room for it.
    ///
    /// # Errors
    /// When `pwrite(2)` or `fdatasync(2)` fails. The error is final.
    pub(super) fn write(&mut self, batch: &mut JournalBatch) -> io::Result<()> {
        let file = self.segments[self.now].file();
        // Before the write, because a write that fails may still reach the disk.
        self.used[self.now] = true;
        if self.at == 0 {
            let mut first = header(self.run, self.len);
            self.at = first.len() as u64;
            first.extend_from_slice(batch.sealed(self.run, self.at));
            file::write_at(file, &first, 0)?;
        } else {
            file::write_at(file, batch.sealed(self.run, self.at), self.at)?;
        }
        self.at += batch.0.len() as u64;
        file::sync(file)
    }

    /// Returns the full segment, which must be emptied.
    pub(super) fn full(&self) -> Option<usize> {
        let other = 1 - self.now;
        self.used[other].then_some(other)
    }

    pub(super) fn any_used(&self) -> bool {
        self.used.contains(&true)
    }

    pub(super) fn file(&self, segment: usize) -> &File {
        self.segments[segment].file()
    }

    /// Notes that this process, or one that it has forked, has emptied a segment.
    pub(super) fn emptied(&mut self, segment: usize) {
        self.used[segment] = false;
    }

    pub(super) fn used(&self) -> impl Iterator<Item = usize> {
        (0..self.used.len()).filter(|&segment| self.used[segment])
    }
}

/// Calls `each` with each segment that an earlier process has left and its path, once no process writes to it.
///
/// # Errors
/// When another process holds the lock of a segment for longer than `limit`; errors of `each`; system errors.
pub(super) fn each_left(
    dir: &Dir,
    limit: Duration,
    mut each: impl FnMut(&File, &Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for name in NAMES {
        let path = dir.path_of(name);
        let file = dir.file(name).map_err(StoreError::system("open", &path))?;
        let Some(file) = file else { continue };
        let segment = own(file, limit).map_err(StoreError::system("lock", &path))?;
        each(segment.file(), &path)?;
    }
    Ok(())
}

/// Takes the exclusive lock of a segment.
///
/// # Errors
/// When another process holds it for longer than `limit`, or `flock(2)` fails.
fn own(segment: File, limit: Duration) -> io::Result<Locked> {
    Locked::within(segment, limit)?.map_err(|_| {
        let what = "a process of an earlier daemon still holds the lock";
        io::Error::new(io::ErrorKind::ResourceBusy, what)
    })
}

/// Fills a file with `len` zeros. Blocks that are only reserved (fallocate(2)) would be marked as unwritten, and the
/// first write to each would have to update that metadata.
fn fill(file: &File, len: u64) -> io::Result<()> {
    let zeros = vec![0; 64 * 1024];
    file::truncate(file, 0)?;
    for at in (0..len).step_by(zeros.len()) {
        let n = usize::try_from(len - at).unwrap_or(usize::MAX);
        file::write_at(file, &zeros[..n.min(zeros.len())], at)?;
    }
    file::sync(file)
}

/// Marks a segment as empty, durably.
///
/// # Errors
/// When `pwrite(2)` or `fdatasync(2)` fails.
pub(super) fn clear(segment: &File) -> io::Result<()> {
    file::write_at(segment, &[0; HEADER + BATCH], 0)?;
    file::sync(segment)
}

fn header(run: u32, len: u64) -> Vec<u8> {
    let mut header = vec![0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&run.to_le_bytes());
    header[12..16].copy_from_slice(&u32::try_from(len).unwrap_or(0).to_le_bytes());
    let sum = checksum(&header[8..16], 0, 0);
    header[4..8].copy_from_slice(&sum.to_le_bytes());
    header
}

/// Returns whether a segment has entries or is damaged.
///
/// # Errors
/// When `pread(2)` fails.
pub(super) fn is_used(segment: &File) -> io::Result<bool> {
    let mut first = [0; HEADER + BATCH];
    let n = file::read_at(segment, &mut first, 0)?;
    let part = |from: usize, to: usize| first[from.min(n)..to.min(n)].iter().any(|&byte| byte != 0);
    Ok(part(0, HEADER) || part(HEADER, HEADER + BATCH))
}

/// Reads a whole segment; `None` when it is empty.
///
/// # Errors
/// When `pread(2)` fails.
pub(super) fn read(segment: &File) -> io::Result<Option<Vec<u8>>> {
    if !is_used(segment)? {
        return Ok(None);
    }
    let len = usize::try_from(file::facts(segment)?.len).unwrap_or(0);
    let mut bytes = vec![0; len];
    let n = file::read_at(segment, &mut bytes, 0)?;
    bytes.truncate(n);
    Ok(Some(bytes))
}

/// Decodes the run and the length in the header of a segment; `None` when it is invalid.
fn decode_header(segment: &[u8]) -> Option<(u32, usize)> {
    let header: &[u8; 16] = segment.first_chunk()?;
    let valid = header[..4] == MAGIC && checksum(&header[8..], 0, 0) == u32_at(header, 4);
    valid.then(|| (u32_at(header, 8), u32_at(header, 12) as usize))
}

/// Calls `each` with the entries of a segment from [`read`], in the order of their writes. Returns whether the segment
/// is damaged: each batch was synced before the next was written, so only the last can be incomplete. Entries that
/// survive a power cut during [`clear`] are passed to `each` too, and are no damage.
pub(super) fn entries<'b>(segment: &'b [u8], mut each: impl FnMut(&'b [u8])) -> bool {
    let header = decode_header(segment);
    let is_zero = |from: usize, len: usize| {
        let part = segment.iter().skip(from).take(len);
        part.copied().all(|byte| byte == 0)
    };
    // Without a header, take the run of the first batch, which always belongs to the last filling.
    let run = header.map(|(run, _)| run).or_else(|| {
        let first = segment.get(HEADER + 12..HEADER + BATCH)?;
        Some(u32_at(first, 0))
    });
    let Some(run) = run else {
        return !is_zero(0, segment.len());
    };
    let mut is_damaged = match header {
        Some((_, len)) => segment.len() < len,
        None => !is_zero(0, HEADER),
    };
    let mut at = HEADER;
    loop {
        let Some(batch) = batch_at(segment, run, at) else {
            let Some(next) = next_batch(segment, run, at) else {
                return is_damaged;
            };
            is_damaged |= at != HEADER || !is_zero(at, BATCH);
            at = next;
            continue;
        };
        let mut rest = &batch[BATCH..];
        while let Some((len, behind)) = rest.split_at_checked(4) {
            let len = u32_at(len, 0) as usize;
            match behind.split_at_checked(len) {
                Some((entry, behind)) if len > 0 => {
                    each(entry);
                    rest = behind;
                }
                // The padding of the batch.
                _ => break,
            }
        }
        at += batch.len();
    }
}

/// Returns the offset of the next batch of this run behind `at`.
fn next_batch(segment: &[u8], run: u32, at: usize) -> Option<usize> {
    let rest = segment.get(at + 1..)?;
    memchr::memmem::find_iter(rest, &BATCH_MAGIC)
        .map(|found| at + 1 + found)
        .find(|&next| batch_at(segment, run, next).is_some())
}

fn batch_at(segment: &[u8], run: u32, at: usize) -> Option<&[u8]> {
    let rest = segment.get(at..)?;
    let head: &[u8; BATCH] = rest.first_chunk()?;
    if head[..4] != BATCH_MAGIC {
        return None;
    }
    let batch = rest.get(..(u32_at(head, 8) as usize).checked_add(BATCH)?)?;
    (checksum(&batch[8..], run, at as u64) == u32_at(head, 4)).then_some(batch)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a batch is a few megabytes at most"
)]
fn u32_len(len: usize) -> u32 {
    len as u32
}

#[cfg(test)]
mod tests;
