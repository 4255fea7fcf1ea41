//! Search for the end of the records in a mailbox file, which is where its trailing zeros begin.
//!
//! A file grows by whole blocks, padded with zeros. An append into the padding leaves the length of the file unchanged,
//! so that fdatasync(2) writes the data block but no metadata. (PostgreSQL and SQLite do the same with their logs.) No
//! record ends with zeros.

use std::fs::File;
use std::io;

use super::header::Header;
use super::record::{self, TRAILER};
use crate::sys::file;

/// The unit by which a file grows, in bytes. It is the block size of most file systems, so that padding takes no space.
const BLOCK: u64 = 4_096;
/// The size of a read, in bytes.
const ROOM: usize = 4_096;

/// The end of the records of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MailboxEnd {
    /// The offset behind which the file has zeros or ends.
    pub(crate) offset: u64,
    /// The number of the last record; `None` when no valid record ends at `offset`.
    pub(crate) seq: Option<u64>,
}

/// The position of the next record of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The number of the last record.
    pub(crate) seq: u64,
    /// The end of the last record.
    pub(crate) offset: u64,
}

/// Finds the end of a mailbox file of `len` bytes. An intact file takes one read of its last block.
///
/// # Errors
/// When `pread(2)` fails.
pub(crate) fn find(file: &File, header: &Header, len: u64) -> io::Result<MailboxEnd> {
    // Acknowledged records count even where they read as zeros, because their space was given back.
    let floor = header.acked_offset.min(len);
    let mut block = [0; ROOM];
    let mut end = len;
    while end > floor {
        let from = (end - 1) / BLOCK * BLOCK;
        let from = from.max(floor);
        #[expect(clippy::cast_possible_truncation, reason = "they lie in one block")]
        let want = (end - from) as usize;
        let n = file::read_at(file, &mut block[..want], from)?;
        if let Some(written) = without_zeros(&block[..n]) {
            let offset = (from + written as u64).next_multiple_of(8).min(len);
            #[expect(clippy::cast_possible_truncation, reason = "they lie in one block")]
            let block = &block[..(offset - from) as usize];
            return Ok(MailboxEnd {
                offset,
                seq: match block.last_chunk::<TRAILER>() {
                    Some(trailer) if header.acked_offset < offset => {
                        seq_in(trailer, header, offset)
                    }
                    _ => last_seq(file, header, offset)?,
                },
            });
        }
        end = from;
    }
    Ok(MailboxEnd {
        offset: floor,
        seq: (floor == header.acked_offset).then_some(header.acked_seq),
    })
}

/// Returns the number of the record that ends at `end`; `None` when none ends there.
///
/// # Errors
/// When `pread(2)` fails.
pub(crate) fn last_seq(file: &File, header: &Header, end: u64) -> io::Result<Option<u64>> {
    if end == header.acked_offset {
        return Ok(Some(header.acked_seq));
    }
    if end < header.acked_offset + TRAILER as u64 {
        return Ok(None);
    }
    let mut bytes = [0; TRAILER];
    let n = file::read_at(file, &mut bytes, end - TRAILER as u64)?;
    Ok(seq_in(&bytes[..n], header, end))
}

fn seq_in(trailer: &[u8], header: &Header, end: u64) -> Option<u64> {
    let trailer = record::decode_trailer(trailer, header.epoch, end)?;
    end.is_multiple_of(8).then_some(trailer.seq)
}

/// Returns whether the record that ends at `tail` is still the last of a mailbox with this `epoch`.
///
/// Zeros behind `tail` do not prove that: later records may have been read, forgotten and given back since, and then
/// read as zeros as well. So the trailer before `tail` must be valid too.
///
/// # Errors
/// When `pread(2)` fails.
pub(crate) fn is_last(file: &File, epoch: u32, tail: Tail) -> io::Result<bool> {
    // A record begins with its magic and is written from its beginning, so 8 bytes show whether there is a next one.
    let mut bytes = [0; TRAILER + 8];
    let Some(from) = tail.offset.checked_sub(TRAILER as u64) else {
        return Ok(false);
    };
    let n = file::read_at(file, &mut bytes, from)?;
    let Some((trailer, next)) = bytes[..n].split_at_checked(TRAILER) else {
        return Ok(false);
    };
    let trailer = record::decode_trailer(trailer, epoch, tail.offset);
    Ok(
        trailer.is_some_and(|trailer| trailer.seq == tail.seq)
            && next.iter().all(|&byte| byte == 0),
    )
}

/// Pads `bytes`, which are to be written at `offset`, with zeros so that a file of `len` bytes grows by whole blocks.
pub(crate) fn fill_block(bytes: &mut Vec<u8>, offset: u64, len: u64) {
    let end = offset + bytes.len() as u64;
    if end > len {
        let more = end.next_multiple_of(BLOCK) - end;
        bytes.resize(bytes.len() + usize::try_from(more).unwrap_or(0), 0);
    }
}

/// Returns the length of `bytes` without trailing zeros; `None` when all are zeros.
fn without_zeros(bytes: &[u8]) -> Option<usize> {
    /// The size of a comparison, in bytes.
    const WIDE: usize = 64;
    let mut chunks = bytes.rchunks(WIDE).enumerate();
    let (index, chunk) =
        chunks.find(|(_, chunk)| chunk.iter().fold(0, |all, byte| all | byte) != 0)?;
    let last = chunk.iter().rposition(|&byte| byte != 0)?;
    Some(bytes.len() - index * WIDE - (chunk.len() - last - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_are_not_counted() {
        assert_eq!(without_zeros(&[]), None);
        for len in [1, 7, 8, 63, 64, 65, 200, 4_096] {
            let mut bytes = vec![0; len];
            assert_eq!(without_zeros(&bytes), None);
            for last in [0, len / 2, len - 1] {
                bytes.fill(0);
                bytes[..=last].fill(1);
                assert_eq!(without_zeros(&bytes), Some(last + 1), "{len}");
            }
        }
    }

    #[test]
    fn acknowledged_records_count_after_their_space_was_given_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("m");
        let header = Header {
            acked_seq: 7,
            acked_offset: 8_192,
            ..Header::new(1)
        };
        // All records were given back and read as zeros, with and without padding behind them.
        for len in [8_192, 8_200, 12_288, 20_480] {
            std::fs::write(&path, vec![0; len]).expect("written");
            let file = File::open(&path).expect("a file");
            let end = find(&file, &header, len as u64).expect("readable");
            let expected = MailboxEnd {
                offset: 8_192,
                seq: Some(7),
            };
            assert_eq!(end, expected, "{len}");
        }
        // A file that ends before the acknowledged offset is damaged.
        std::fs::write(&path, vec![0; 4_096]).expect("written");
        let file = File::open(&path).expect("a file");
        let end = find(&file, &header, 4_096).expect("readable");
        assert_eq!((end.offset, end.seq), (4_096, None));
        // Non-zero bytes that are no record are not taken for padding.
        let mut bytes = vec![0; 12_288];
        bytes[9_000] = 1;
        std::fs::write(&path, bytes).expect("written");
        let file = File::open(&path).expect("a file");
        let end = find(&file, &header, 12_288).expect("readable");
        assert_eq!((end.offset, end.seq), (9_008, None));
    }

    #[test]
    fn a_file_grows_by_blocks() {
        let padded = |offset, len, bytes: usize| {
            let mut bytes = vec![1; bytes];
            fill_block(&mut bytes, offset, len);
            offset + bytes.len() as u64
        };
        assert_eq!(padded(0, 0, 1_200), 4_096);
        assert_eq!(padded(1_200, 4_096, 200), 1_400, "there is room");
        assert_eq!(padded(4_000, 4_096, 96), 4_096);
        assert_eq!(padded(4_000, 4_096, 104), 8_192);
        assert_eq!(padded(4_096, 4_096, 10_000), 16_384);
    }
}
