//! Search for a record by its number, by bisection: numbers rise with the offsets.

use std::fs::File;
use std::io;

use super::record::{self, HEAD, Head, MAGIC};
use crate::sys::file;

/// The range in which every head is read, in bytes.
const NEAR: u64 = 128 * 1024;
/// The first size of a read in search of a head, in bytes. It doubles up to [`LONGEST_READ`].
const SHORTEST_READ: usize = 4_096;
const LONGEST_READ: usize = 64 * 1024;

/// A file of records.
struct Log<'f> {
    file: &'f File,
    epoch: u32,
}

/// Returns the end of the last record with a number below `below` among those from the offset `from`, where one begins, to
/// `to`; `from` if there is none. Checks heads only, and reads a small part of a long file. Damaged regions and holes are
/// passed over.
///
/// # Errors
/// When `pread(2)` fails.
pub(crate) fn end_of_records_below(
    file: &File,
    epoch: u32,
    from: u64,
    to: u64,
    below: u64,
) -> io::Result<u64> {
    let log = Log { file, epoch };
    // The wanted record begins at `low` or behind it, and before `high`.
    let (mut low, mut high) = (from, to);
    while high.saturating_sub(low) > NEAR {
        let middle = (low + (high - low) / 2).next_multiple_of(8);
        match log.first_from(middle, high)? {
            Some((offset, head)) if head.seq < below => low = offset,
            _ => high = middle,
        }
    }
    let mut end = from;
    while let Some((offset, head)) = log.first_from(low, high)? {
        if head.seq >= below {
            break;
        }
        low = offset + head.record_len() as u64;
        end = low.min(to);
    }
    Ok(end)
}

impl Log<'_> {
    /// Finds the first head that begins at `from` or behind it, and before `to`.
    fn first_from(&self, from: u64, to: u64) -> io::Result<Option<(u64, Head)>> {
        let mut bytes = Vec::new();
        let mut size = SHORTEST_READ;
        let mut at = from;
        while at < to {
            bytes.resize(size, 0);
            let n = file::read_at(self.file, &mut bytes, at)?;
            for hit in memchr::memmem::find_iter(&bytes[..n], &MAGIC) {
                let offset = at + hit as u64;
                if offset >= to {
                    return Ok(None);
                }
                // A head that is cut off here is read again as a whole.
                if hit + HEAD > n {
                    break;
                }
                if offset.is_multiple_of(8)
                    && let Some(head) = record::decode_head(&bytes[hit..n], self.epoch, offset)
                {
                    return Ok(Some((offset, head)));
                }
            }
            if n < bytes.len() {
                return Ok(None);
            }
            at += (n - HEAD) as u64;
            size = (size * 2).min(LONGEST_READ);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Draft, Fields, MessageId, Trust};
    use crate::name::Name;

    /// Writes records of these lengths of bodies with every second number. Returns their ends.
    fn log(path: &std::path::Path, bodies: &[usize]) -> (Vec<u64>, File) {
        let from: Name = "al".parse().expect("a name");
        let mut bytes = vec![0; 1_024];
        let mut ends = vec![1_024];
        for (index, len) in (1..).zip(bodies) {
            let body = vec![b'x'; *len];
            let draft = Draft {
                id: MessageId([7; 16]),
                from: &from,
                trust: Trust::Open,
                at: 1,
                expires: None,
                once: false,
                body: &body,
                fields: Fields::default(),
            };
            let offset = bytes.len() as u64;
            record::encode(&mut bytes, &draft, 2 * index, 9, offset);
            ends.push(bytes.len() as u64);
        }
        std::fs::write(path, &bytes).expect("written");
        (
            ends,
            File::options()
                .read(true)
                .write(true)
                .open(path)
                .expect("a file"),
        )
    }

    #[test]
    fn finds_each_number_among_short_and_long_records() {
        let dir = tempfile::tempdir().expect("a directory");
        let bodies: Vec<usize> = (0..400)
            .map(|n| if n % 7 == 0 { 70_000 } else { n })
            .collect();
        let (ends, file) = log(&dir.path().join("m"), &bodies);
        let to = *ends.last().expect("some");
        for below in 0..=2 * bodies.len() as u64 + 3 {
            let found = end_of_records_below(&file, 9, 1_024, to, below).expect("readable");
            let count = usize::try_from(below.saturating_sub(1) / 2).expect("small");
            assert_eq!(found, ends[count.min(bodies.len())], "below {below}");
        }
    }

    #[test]
    fn passes_over_damage_and_holes() {
        let dir = tempfile::tempdir().expect("a directory");
        let (ends, file) = log(&dir.path().join("m"), &[3_000; 400]);
        let to = *ends.last().expect("some");
        // Records 101 to 300 are lost, the first of them as the middle of the search.
        file::write_at(
            &file,
            &vec![0; usize::try_from(ends[300] - ends[100]).expect("small")],
            ends[100],
        )
        .expect("written");
        for (below, expected) in [
            (3, 1),
            (201, 100),
            (400, 100),
            (601, 100),
            (604, 301),
            (900, 400),
        ] {
            let found = end_of_records_below(&file, 9, 1_024, to, below).expect("readable");
            assert_eq!(found, ends[expected], "below {below}");
        }
    }
}
