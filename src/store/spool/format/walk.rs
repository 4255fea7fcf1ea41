//! Iteration over the records of a mailbox, in one pass and bounded memory.

use std::fs::File;
use std::io;

use super::record::{self, HEAD, Head};
use crate::message::Stored;
use crate::sys::file;

/// The size of a read, in bytes. A longer record is read whole.
const CHUNK: usize = 128 * 1024;

/// The result of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A valid record from `offset` to `end`. [`Walk::record`] returns its contents.
    Record { offset: u64, end: u64, seq: u64 },
    /// Bytes that are no valid record, up to the next one or the end of the walk.
    Bad { offset: u64, end: u64 },
    /// The end of the walk.
    End,
}

/// A walk from one offset of a mailbox to another. The caller passes the file to each step.
#[derive(Debug)]
pub(crate) struct Walk {
    epoch: u32,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    found: Option<(u64, Head)>,
}

impl Walk {
    /// Creates a walk over the records from `at`, where one begins, to `end`.
    pub(crate) fn new(epoch: u32, at: u64, end: u64) -> Self {
        Self {
            epoch,
            at,
            end,
            buffer: Vec::new(),
            buffer_at: at,
            found: None,
        }
    }

    /// Moves to the next record, or over bad bytes.
    ///
    /// # Errors
    /// When `pread(2)` fails.
    pub(crate) fn step(&mut self, file: &File) -> io::Result<Step> {
        self.found = None;
        let offset = self.at;
        if offset >= self.end {
            return Ok(Step::End);
        }
        if let Some(head) = self.valid_at(file, offset)? {
            self.at += head.record_len() as u64;
            self.found = Some((offset, head));
            return Ok(Step::Record {
                offset,
                end: self.at,
                seq: head.seq,
            });
        }
        // Records begin at multiples of 8.
        self.at = (self.at + 1).next_multiple_of(8);
        while self.at < self.end && self.valid_at(file, self.at)?.is_none() {
            self.at += 8;
        }
        self.at = self.at.min(self.end);
        Ok(Step::Bad {
            offset,
            end: self.at,
        })
    }

    /// Returns the record of the last step; `None` when that step found none.
    pub(crate) fn record(&self) -> Option<Stored<'_>> {
        let (offset, head) = self.found.as_ref()?;
        record::decode_whole(self.in_buffer(*offset), head)
    }

    /// Returns when the message of the last step expires, in milliseconds since 1970.
    pub(crate) fn expires(&self) -> Option<u64> {
        self.found.as_ref()?.1.expires()
    }

    /// Returns a walk that continues from here to another end.
    pub(crate) fn up_to(&self, end: u64) -> Self {
        Self::new(self.epoch, self.at, end)
    }

    /// Returns the head of the valid record at `offset`, and leaves its bytes in the buffer.
    fn valid_at(&mut self, file: &File, offset: u64) -> io::Result<Option<Head>> {
        self.fill(file, offset, HEAD)?;
        let Some(head) = record::decode_head(self.in_buffer(offset), self.epoch, offset) else {
            return Ok(None);
        };
        self.fill(file, offset, head.record_len())?;
        let whole = record::is_whole(self.in_buffer(offset), &head, self.epoch, offset);
        Ok(whole.then_some(head))
    }

    fn in_buffer(&self, offset: u64) -> &[u8] {
        usize::try_from(offset - self.buffer_at)
            .ok()
            .and_then(|at| self.buffer.get(at..))
            .unwrap_or_default()
    }

    /// Reads `len` bytes from `offset` into the buffer, or as many as there are.
    fn fill(&mut self, file: &File, offset: u64, len: usize) -> io::Result<()> {
        let have = self.in_buffer(offset).len();
        let left = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
        if have >= len.min(left) {
            return Ok(());
        }
        let from = self.buffer.len() - have;
        self.buffer.copy_within(from.., 0);
        self.buffer_at = offset;
        self.buffer.resize(len.max(CHUNK).min(left), 0);
        let n = file::read_at(file, &mut self.buffer[have..], offset + have as u64)?;
        self.buffer.truncate(have + n);
        Ok(())
    }
}
