//! A scoreboard: a file of counters and per-process slots, which several processes map.
//!
//! Reading it needs no lock, and no cooperation of the writers. It consists of 64-bit words:
//!
//! ```text
//! 0  magic                         8           counters, 5 words each: name, 32 bytes; value
//! 1  number of counters            8 + 5 * n   slots, 24 words each:
//! 2  number of slots                             0  sequence number, odd during a write
//! 3  PID of the creator                          1  PID of the owner, or 0
//! 4  creation time, ms since 1970                2  start time, ms since 1970
//! 5  three shared words                          3  phase
//!                                                4  peer, 64 bytes
//!                                               12  activity, 96 bytes
//! ```

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use nix::sys::mman::{MapFlags, ProtFlags};

use crate::sys::clock::unix_millis;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::process::Pid;

const MAGIC: u64 = u64::from_le_bytes(*b"DlBoard1");
const HEADER: usize = 8;
/// The header words for general use by all processes.
const SHARED: std::ops::Range<usize> = 5..8;
const NAME: usize = 4;
const COUNTER: usize = NAME + 1;
const SLOT: usize = 24;
const PEER: std::ops::Range<usize> = 4..12;
const DOING: std::ops::Range<usize> = 12..24;

/// A mapped scoreboard. It is never unmapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Board {
    words: &'static [AtomicU64],
    counters: usize,
    slots: usize,
}

impl Board {
    /// Creates the file `name` in `dir`, with counters of these names (at most 32 bytes each). Only the owner may read
    /// it; with `for_group`, the group of this process as well. Atomically replaces an existing file, so that a process
    /// that has that one open does not see this one.
    ///
    /// # Errors
    /// Those of `open(2)`, `fallocate(2)`, `fchown(2)`, `rename(2)` and `mmap(2)`: ENOSPC when the disk has no room for
    /// it.
    pub(crate) fn create(
        dir: &Dir,
        name: &str,
        counters: &[&str],
        slots: usize,
        for_group: bool,
    ) -> io::Result<Self> {
        let temporary = format!(".{name}.new");
        let file = dir.new_file(&temporary)?;
        let len = HEADER + COUNTER * counters.len() + SLOT * slots;
        // Without reserved disk blocks, a store to a mapped page could raise SIGBUS.
        if let Err(e) = file::reserve(&file, 8 * len as u64) {
            drop(file);
            let _ = dir.remove(&temporary);
            return Err(e);
        }
        if for_group {
            file::let_group_read(&file)?;
        }
        let words = map(&file, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        let board = Self {
            words,
            counters: counters.len(),
            slots,
        };
        let header = [
            MAGIC,
            counters.len() as u64,
            slots as u64,
            Pid::own().number(),
            unix_millis(),
        ];
        for (word, value) in words.iter().zip(header) {
            word.store(value, Ordering::Relaxed);
        }
        for (index, name) in counters.iter().enumerate() {
            let at = HEADER + COUNTER * index;
            put(&words[at..at + NAME], name);
        }
        dir.rename(&temporary, name)?;
        Ok(board)
    }

    /// Maps an existing scoreboard read-only.
    ///
    /// # Errors
    /// Those of `mmap(2)`; `InvalidData` when the file is not a scoreboard.
    pub(crate) fn look_at(file: &File) -> io::Result<Self> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "it is not a scoreboard");
        let bytes = file::facts(file)?.len;
        let len = usize::try_from(bytes / 8).map_err(|_| wrong())?;
        if len < HEADER {
            return Err(wrong());
        }
        let words = map(file, len, ProtFlags::PROT_READ)?;
        let number = |at: usize| usize::try_from(words[at].load(Ordering::Relaxed));
        let (Ok(counters), Ok(slots)) = (number(1), number(2)) else {
            return Err(wrong());
        };
        let fits = counters <= 1_000 && slots <= 1_000_000;
        if words[0].load(Ordering::Relaxed) != MAGIC
            || !fits
            || len < HEADER + COUNTER * counters + SLOT * slots
        {
            return Err(wrong());
        }
        Ok(Self {
            words,
            counters,
            slots,
        })
    }

    /// Returns the PID of the creator.
    pub(crate) fn pid(self) -> u64 {
        self.words[3].load(Ordering::Relaxed)
    }

    /// Returns the creation time in milliseconds since 1970.
    pub(crate) fn since(self) -> u64 {
        self.words[4].load(Ordering::Relaxed)
    }

    /// Returns a word for general use by all processes, initially 0.
    pub(crate) fn shared(self, index: usize) -> &'static AtomicU64 {
        &self.words[SHARED][index]
    }

    /// Adds `n` to the counter with this index.
    pub(crate) fn add(self, counter: usize, n: u64) {
        self.counter(counter).fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the counter with this index.
    pub(crate) fn counter(self, counter: usize) -> &'static AtomicU64 {
        &self.words[HEADER + COUNTER * counter + NAME]
    }

    /// Returns the names and values of all counters.
    pub(crate) fn counters(self) -> Vec<(String, u64)> {
        let all = self.words[HEADER..]
            .chunks_exact(COUNTER)
            .take(self.counters);
        all.map(|words| (text(&words[..NAME]), words[NAME].load(Ordering::Relaxed)))
            .collect()
    }

    /// Returns the number of slots.
    pub(crate) fn slots(self) -> usize {
        self.slots
    }

    /// Returns the slot with this index.
    pub(crate) fn slot(self, index: usize) -> Slot {
        let at = HEADER + COUNTER * self.counters + SLOT * index;
        Slot(&self.words[at..at + SLOT])
    }
}

/// The slot of one process. Only this process writes to it, or its parent after reaping it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(&'static [AtomicU64]);

/// The contents of a slot in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The PID of the owner.
    pub(crate) pid: u64,
    /// When the owner took the slot, in milliseconds since 1970.
    pub(crate) since: u64,
    /// The address of the owner's client.
    pub(crate) peer: String,
    /// The activity of the owner.
    pub(crate) doing: String,
}

impl Slot {
    /// Takes the slot for the calling process, which serves the client `peer`.
    pub(crate) fn take(self, peer: &str) {
        self.write(|words| {
            words[1].store(Pid::own().number(), Ordering::Relaxed);
            words[2].store(unix_millis(), Ordering::Relaxed);
            put(&words[PEER], peer);
            put(&words[DOING], "");
        });
    }

    /// Sets the activity of the owner.
    pub(crate) fn doing(self, what: &str) {
        self.write(|words| put(&words[DOING], what));
    }

    /// Sets the phase of the owner.
    pub(crate) fn set_phase(self, phase: u64) {
        self.0[3].store(phase, Ordering::Relaxed);
    }

    /// Returns the phase of the owner.
    pub(crate) fn phase(self) -> u64 {
        self.0[3].load(Ordering::Relaxed)
    }

    /// Frees the slot of an owner that has ended, possibly in the middle of a write.
    pub(crate) fn clear(self) {
        self.0[1].store(0, Ordering::Relaxed);
        self.0[3].store(0, Ordering::Relaxed);
        self.0[0].store(0, Ordering::Release);
    }

    fn write(self, what: impl FnOnce(&[AtomicU64])) {
        // The sequence number is even here. Begin with a read-modify-write: a load would cost a second page fault.
        let sequence = self.0[0].fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        what(self.0);
        self.0[0].store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// Returns the contents of the slot; `None` when it is free, or changes during each of 100 attempts.
    pub(crate) fn read(self) -> Option<Seen> {
        for _ in 0..100 {
            let before = self.0[0].load(Ordering::Acquire);
            let seen = Seen {
                pid: self.0[1].load(Ordering::Relaxed),
                since: self.0[2].load(Ordering::Relaxed),
                peer: text(&self.0[PEER]),
                doing: text(&self.0[DOING]),
            };
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && before == self.0[0].load(Ordering::Relaxed) {
                return (seen.pid > 0).then_some(seen);
            }
        }
        None
    }
}

/// Stores `text` in `words`, truncated or padded with NULs.
fn put(words: &[AtomicU64], text: &str) {
    let mut bytes = text.as_bytes().chunks(8);
    for word in words {
        let mut value = [0; 8];
        if let Some(chunk) = bytes.next() {
            value[..chunk.len()].copy_from_slice(chunk);
        }
        word.store(u64::from_le_bytes(value), Ordering::Relaxed);
    }
}

fn text(words: &[AtomicU64]) -> String {
    let values = words.iter().map(|word| word.load(Ordering::Relaxed));
    let bytes: Vec<u8> = values.flat_map(u64::to_le_bytes).collect();
    let end = bytes.iter().position(|&byte| byte == 0);
    let text = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned();
    text.replace(char::is_control, "?")
}

fn map(file: &File, len: usize, access: ProtFlags) -> io::Result<&'static [AtomicU64]> {
    let bytes = NonZeroUsize::new(8 * len).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel chooses an unused range of addresses. The file is at least as long.
    let start =
        unsafe { nix::sys::mman::mmap(None, bytes, access, MapFlags::MAP_SHARED, file, 0) }?;
    let start: NonNull<AtomicU64> = start.cast();
    // SAFETY: the mapping is permanent, aligned to a page, and accessed through atomics only. The callers of `look_at`
    // only read. (Access raises SIGBUS if the file is truncated, which only its owner may do.)
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), len) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_counters_and_slots_between_mappings() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = Dir::open(temp.path()).expect("a directory");
        let names = ["stored", "a_name_of_just_thirty_two_bytes__"];
        let board = Board::create(&dir, "board", &names, 3, false).expect("made");
        let other = Board::look_at(&File::open(temp.path().join("board")).expect("there"));
        let other = other.expect("a board");
        board.add(0, 2);
        board.add(1, 1);
        board.add(0, 3);
        let expected = [("stored".to_owned(), 5), (names[1][..32].to_owned(), 1)];
        assert_eq!(other.counters(), expected);
        assert_eq!(other.slots(), 3);
        assert_eq!(other.slot(1).read(), None);
        board.slot(1).take("10.0.0.5:4242");
        board.slot(1).doing("fetch bob\n");
        let seen = other.slot(1).read().expect("taken");
        assert_eq!(seen.pid, u64::from(std::process::id()));
        assert_eq!(
            (seen.peer.as_str(), seen.doing.as_str()),
            ("10.0.0.5:4242", "fetch bob?")
        );
        board.slot(1).doing(&"x".repeat(500));
        assert_eq!(other.slot(1).read().expect("taken").doing.len(), 96);
        assert_eq!(other.slot(2).read(), None, "no overflow into the next slot");
        board.slot(1).clear();
        assert_eq!(other.slot(1).read(), None);
    }

    #[test]
    fn refuses_a_file_that_is_not_a_scoreboard() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("board");
        for wrong in [vec![], vec![0; 64], vec![0xff; 4096], {
            let mut short = MAGIC.to_le_bytes().to_vec();
            short.extend(1_u64.to_le_bytes());
            short.extend(1_000_u64.to_le_bytes());
            short.resize(128, 0);
            short
        }] {
            std::fs::write(&path, wrong).expect("written");
            let file = File::open(&path).expect("there");
            assert!(Board::look_at(&file).is_err());
        }
    }
}
