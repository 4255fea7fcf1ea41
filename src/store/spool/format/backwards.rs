//! Iteration over the records of a mailbox from its end to its beginning.

use std::fs::File;
use std::io;

use super::record::{self, HEAD, Head, TRAILER};
use crate::message::Stored;
use crate::name::MAX_NAME;
use crate::sys::file;

/// The size of a read, in bytes.
const CHUNK: u64 = 128 * 1024;
/// The size of a read between records that are long enough to skip their bodies.
const SPARSE_CHUNK: u64 = 512;
/// The length of a record from which bodies are skipped, in bytes.
const SPARSE: u64 = CHUNK / 8;

/// A walk from the end of a mailbox to its beginning. It checks trailers and heads only, not bodies.
#[derive(Debug)]
pub(crate) struct Backwards<'f> {
    file: &'f File,
    epoch: u32,
    stop: u64,
    /// The offset of the current record.
    at: u64,
    /// The length of the current record.
    len: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'f> Backwards<'f> {
    /// Creates a walk from `end`, which need not be the end of a record, back to `stop`.
    pub(crate) fn new(file: &'f File, epoch: u32, stop: u64, end: u64) -> Self {
        Self {
            file,
            epoch,
            stop,
            at: end,
            len: 0,
            buffer: Vec::new(),
            buffer_at: end,
        }
    }
}

impl Backwards<'_> {
    /// Moves to the previous record and returns its head; `None` at the beginning.
    ///
    /// # Errors
    /// When `pread(2)` fails.
    pub(crate) fn step(&mut self) -> io::Result<Option<Head>> {
        while self.at > self.stop {
            let end = self.at;
            if let Some(head) = self.record_before(end)? {
                return Ok(Some(head));
            }
            // Bad bytes: records end at multiples of 8, so try the previous one.
            self.at = (end - 1) / 8 * 8;
        }
        Ok(None)
    }

    fn record_before(&mut self, end: u64) -> io::Result<Option<Head>> {
        if end < self.stop + (HEAD + TRAILER) as u64 {
            return Ok(None);
        }
        let epoch = self.epoch;
        let trailer = self.bytes(end - TRAILER as u64, TRAILER)?;
        let Some(trailer) = record::decode_trailer(trailer, epoch, end) else {
            return Ok(None);
        };
        let Some(start) = end
            .checked_sub(trailer.record_len)
            .filter(|start| *start >= self.stop)
        else {
            return Ok(None);
        };
        self.len = trailer.record_len;
        let head = record::decode_head(self.bytes(start, HEAD + MAX_NAME)?, epoch, start);
        let head = head.filter(|head| head.seq == trailer.seq);
        if head.is_some() {
            self.at = start;
        }
        Ok(head)
    }

    /// Returns the offset of the current record.
    pub(crate) fn begins_at(&self) -> u64 {
        self.at
    }

    /// Returns the sender of the current record, whose head and sender [`step`](Self::step) has read.
    pub(crate) fn sender(&self, head: &Head) -> &[u8] {
        let from = usize::try_from(self.at - self.buffer_at)
            .unwrap_or(usize::MAX)
            .saturating_add(HEAD);
        self.buffer
            .get(from..from + head.sender_len)
            .unwrap_or_default()
    }

    /// Reads the current record as a whole; `None` when its body was given back or it is damaged.
    ///
    /// # Errors
    /// When `pread(2)` fails.
    pub(crate) fn record(&mut self, head: &Head) -> io::Result<Option<Stored<'_>>> {
        let (epoch, at) = (self.epoch, self.at);
        let bytes = self.bytes(at, head.record_len())?;
        Ok(record::decode(bytes, head, epoch, at))
    }

    /// Returns `len` bytes at `from`, or fewer at the end of the file. A read mostly covers the bytes before
    /// them, which the next steps need. Behind a long record these are only the trailer of the one before.
    fn bytes(&mut self, from: u64, len: usize) -> io::Result<&[u8]> {
        let buffer_end = self.buffer_at + self.buffer.len() as u64;
        if from < self.buffer_at || from + len as u64 > buffer_end {
            let end = from + len as u64;
            let chunk = if self.len < SPARSE {
                CHUNK
            } else {
                SPARSE_CHUNK
            };
            self.buffer_at = end.saturating_sub(chunk).max(self.stop).min(from);
            let size = usize::try_from(end - self.buffer_at).unwrap_or(len);
            self.buffer.resize(size, 0);
            let n = file::read_at(self.file, &mut self.buffer, self.buffer_at)?;
            self.buffer.truncate(n);
        }
        let at = usize::try_from(from - self.buffer_at).unwrap_or(usize::MAX);
        let end = at.saturating_add(len).min(self.buffer.len());
        Ok(self.buffer.get(at..end).unwrap_or_default())
    }
}
