//! The file of registered names in order.

use std::fs::File;
use std::io;

use super::entry::{self, ENTRY, Entry};
use crate::name::Name;
use crate::sys::file;

/// The number of entries of the first read; each further one reads twice as many, up to [`MOST`].
const FEW: usize = 16;
const MOST: usize = 1_024;
/// Bytes gathered before each write.
const PORTION: usize = 64 * 1024;

/// A reader of the names after a given one.
pub(super) struct Sorted {
    file: File,
    count: u64,
    /// The number of the next entry to read into the buffer.
    next: u64,
    at_once: usize,
    buffer: std::vec::IntoIter<Entry>,
}

impl Sorted {
    /// Opens a file; `None` if it is damaged.
    ///
    /// # Errors
    /// Errors from `pread(2)`.
    pub(super) fn open(file: File) -> io::Result<Option<Self>> {
        let mut header = [0; ENTRY];
        let n = file::read_at(&file, &mut header, 0)?;
        let count = entry::decode_header(&header[..n]);
        let len = file::facts(&file)?.len;
        let count =
            count.filter(|count| count.saturating_add(1).checked_mul(ENTRY as u64) == Some(len));
        Ok(count.map(|count| Self {
            file,
            count,
            next: 0,
            at_once: FEW,
            buffer: Vec::new().into_iter(),
        }))
    }

    /// Returns the number of names.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Continues with the first name after `after`. Returns `false` if the file is damaged.
    ///
    /// # Errors
    /// Errors from `pread(2)`.
    pub(super) fn seek(&mut self, after: &Name) -> io::Result<bool> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(entry) = self.read(middle, 1)?.pop() else {
                return Ok(false);
            };
            if entry.name <= *after {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.next = low;
        self.buffer = Vec::new().into_iter();
        Ok(true)
    }

    /// Returns the next entry without passing it; `None` at the end. The inner error is damage.
    ///
    /// # Errors
    /// Errors from `pread(2)`.
    pub(super) fn peek(&mut self) -> io::Result<Result<Option<&Entry>, Damaged>> {
        if self.buffer.as_slice().is_empty() && self.next < self.count {
            let left = usize::try_from(self.count - self.next).unwrap_or(usize::MAX);
            let want = self.at_once.min(left);
            let entries = self.read(self.next, want)?;
            if entries.len() < want {
                return Ok(Err(Damaged));
            }
            self.next += want as u64;
            self.at_once = (self.at_once * 2).min(MOST);
            self.buffer = entries.into_iter();
        }
        Ok(Ok(self.buffer.as_slice().first()))
    }

    /// Passes the entry that [`peek`](Self::peek) has returned.
    pub(super) fn pass(&mut self) -> Option<Entry> {
        self.buffer.next()
    }

    /// Reads `count` entries from number `from` on, up to the first damaged one.
    fn read(&self, from: u64, count: usize) -> io::Result<Vec<Entry>> {
        let mut bytes = vec![0; count * ENTRY];
        let n = file::read_at(&self.file, &mut bytes, (from + 1) * ENTRY as u64)?;
        Ok(bytes[..n].chunks(ENTRY).map_while(Entry::decode).collect())
    }
}

/// The file is damaged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Damaged;

/// Writes a file of names in order.
pub(super) struct SortedWriter<'f> {
    file: &'f File,
    count: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl<'f> SortedWriter<'f> {
    /// Begins in an empty `file`.
    pub(super) fn new(file: &'f File) -> Self {
        Self {
            file,
            count: 0,
            offset: ENTRY as u64,
            bytes: Vec::with_capacity(PORTION),
        }
    }

    /// Adds an entry. Names must rise.
    ///
    /// # Errors
    /// Errors from `pwrite(2)`.
    pub(super) fn push(&mut self, entry: &Entry) -> io::Result<()> {
        self.bytes.extend_from_slice(&entry.encode());
        self.count += 1;
        if self.bytes.len() >= PORTION {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        file::write_at(self.file, &self.bytes, self.offset)?;
        self.offset += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    /// Makes the file durable.
    ///
    /// # Errors
    /// Errors from `pwrite(2)` and `fdatasync(2)`.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.write()?;
        file::write_at(self.file, &entry::encode_header(self.count), 0)?;
        file::sync(self.file)
    }
}
