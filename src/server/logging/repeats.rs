//! Errors and warnings of one kind are written once a second at most, whichever process they come from; the others are
//! counted. A kind is a place in the source code.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use log::{Level, Record};

use super::text::OneLine;

/// The number of kinds. Lines of further kinds are always written.
const KINDS: usize = 64;
/// The words of a kind.
const WORDS: usize = 16;
/// The length of the text of a line that is kept, in bytes.
const TEXT: usize = 8 * (WORDS - 3);
/// The words that all processes share: whether any lines wait to be reported, and the kinds.
pub(in crate::server) const SHARED_WORDS: usize = 1 + KINDS * WORDS;
/// The shortest time between two lines of a kind, in milliseconds.
const SPAN: u64 = 1_000;

/// The shared memory that counts the lines of each kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeats(&'static [AtomicU64]);

/// The state of a kind: its mark, or 0 if the place is free; the time of the last line, in milliseconds; the number of
/// lines that were left out since; and the text of the first of these.
#[derive(Clone, Copy)]
struct Kind(&'static [AtomicU64]);

/// Lines that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) level: Level,
    pub(super) count: u64,
    /// The text of one of them, which may be shortened.
    pub(super) text: String,
}

impl Repeats {
    /// Uses these words, [`SHARED_WORDS`] of them.
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        Self(words)
    }

    /// Returns whether to write this line now (in milliseconds, not 0), and how many of its kind were left out before.
    /// Counts it otherwise.
    pub(super) fn admit(self, record: &Record<'_>, now: u64) -> Option<u64> {
        let Some(kind) = mark(record).and_then(|mark| self.kind(mark)) else {
            return Some(0);
        };
        if kind.begin_span(now) {
            return Some(kind.0[2].swap(0, SeqCst));
        }
        if kind.0[2].fetch_add(1, SeqCst) == 0 {
            kind.keep(record);
        }
        self.0[0].store(1, SeqCst);
        None
    }

    /// Takes the lines that were left out and are due to be reported, or all of them. Returns them, and when to call
    /// this again.
    pub(super) fn take(self, now: u64, all: bool) -> (Vec<LeftOut>, Option<Duration>) {
        let mut taken = Vec::new();
        // The usual case.
        if self.0[0].load(SeqCst) == 0 {
            return (taken, None);
        }
        self.0[0].store(0, SeqCst);
        let mut more = false;
        for kind in self.kinds() {
            if kind.0[2].load(SeqCst) == 0 {
                continue;
            }
            if kind.begin_span(now) || all {
                taken.extend(kind.left_out());
            } else {
                more = true;
            }
        }
        if more {
            self.0[0].store(1, SeqCst);
        }
        (taken, more.then(|| Duration::from_millis(SPAN)))
    }

    fn kinds(self) -> impl Iterator<Item = Kind> {
        self.0[1..].chunks_exact(WORDS).map(Kind)
    }

    /// Returns the place of a kind, and takes one for a new kind; `None` if there is none left.
    fn kind(self, mark: u64) -> Option<Kind> {
        self.kinds().find(|kind| {
            let before = kind.0[0].compare_exchange(0, mark, SeqCst, SeqCst);
            before.map_or_else(|other| other == mark, |_| true)
        })
    }
}

impl Kind {
    /// Begins a span in which no other line is written, unless one has begun.
    fn begin_span(self, now: u64) -> bool {
        let last = self.0[1].load(SeqCst);
        let is_early = last > 0 && now.saturating_sub(last) < SPAN;
        !is_early
            && self.0[1]
                .compare_exchange(last, now, SeqCst, SeqCst)
                .is_ok()
    }

    /// Keeps the text of a line.
    fn keep(self, record: &Record<'_>) {
        let mut text = String::with_capacity(2 * TEXT);
        // Writing to a string cannot fail.
        let _ = write!(OneLine(&mut text), "{}", record.args());
        let mut bytes = text.bytes().chain(std::iter::repeat(0));
        for word in &self.0[3..] {
            let bytes = std::array::from_fn(|_| bytes.next().unwrap_or_default());
            word.store(u64::from_le_bytes(bytes), SeqCst);
        }
    }

    /// Takes the lines that were left out, if any.
    fn left_out(self) -> Option<LeftOut> {
        let count = self.0[2].swap(0, SeqCst);
        let words = self.0[3..].iter().map(|word| word.load(SeqCst));
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let end = bytes.iter().position(|byte| *byte == 0);
        let cut = if end.is_none() { "..." } else { "" };
        // The end may be a part of a character. Another process may write at the same time.
        let text = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
        let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        let level = match self.0[0].load(SeqCst) & ERROR {
            0 => Level::Warn,
            _ => Level::Error,
        };
        (count > 0).then(|| LeftOut {
            level,
            count,
            text: format!("{text}{cut}"),
        })
    }
}

/// The bit of a mark that is set for errors.
const ERROR: u64 = 1 << 32;

/// Returns the mark of the kind of a line, which is not 0; `None` for a line that is always written.
fn mark(record: &Record<'_>) -> Option<u64> {
    let level = match record.level() {
        Level::Error => ERROR,
        Level::Warn => 0,
        Level::Info | Level::Debug | Level::Trace => return None,
    };
    let place = crc32fast::hash(record.file()?.as_bytes());
    let line = record.line()?;
    Some(level | 1 << 33 | u64::from(place ^ line.rotate_left(16)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::shared;

    fn repeats() -> Repeats {
        Repeats::new(shared::words(SHARED_WORDS).expect("shared"))
    }

    fn admit(repeats: Repeats, level: Level, line: u32, text: &str, now: u64) -> Option<u64> {
        let args = format_args!("{text}");
        let mut record = Record::builder();
        let record = record.level(level).file(Some("a.rs")).line(Some(line));
        repeats.admit(&record.args(args).build(), now)
    }

    #[test]
    fn a_kind_is_written_once_a_second_and_counted() {
        let repeats = repeats();
        assert_eq!(admit(repeats, Level::Error, 1, "one", 5_000), Some(0));
        for now in [5_000, 5_500, 5_999] {
            assert_eq!(admit(repeats, Level::Error, 1, "two\n", now), None);
        }
        // Other kinds do not wait.
        assert_eq!(admit(repeats, Level::Error, 2, "three", 5_500), Some(0));
        assert_eq!(admit(repeats, Level::Warn, 1, "four", 5_500), Some(0));
        assert_eq!(
            repeats.take(5_999, false),
            (vec![], Some(Duration::from_secs(1)))
        );
        assert_eq!(admit(repeats, Level::Error, 1, "five", 6_000), Some(3));
        assert_eq!(repeats.take(6_999, false), (vec![], None));
        for _ in 0..100 {
            assert_eq!(
                admit(repeats, Level::Info, 1, "each is written", 6_500),
                Some(0)
            );
        }
    }

    #[test]
    fn left_out_lines_are_reported_when_no_other_line_follows() {
        let repeats = repeats();
        let long = "ü".repeat(100);
        for (line, text) in [(1, "short"), (2, &*long)] {
            assert_eq!(admit(repeats, Level::Warn, line, text, 1_000), Some(0));
            assert_eq!(admit(repeats, Level::Warn, line, text, 1_000), None);
        }
        assert_eq!(repeats.take(1_999, false).0, []);
        let left_out = |text: String| LeftOut {
            level: Level::Warn,
            count: 1,
            text,
        };
        let cut = "ü".repeat(TEXT / 2) + "...";
        let expected = vec![left_out("short".into()), left_out(cut)];
        assert_eq!(repeats.take(2_000, false), (expected, None));
        // The report counts as a line.
        assert_eq!(admit(repeats, Level::Warn, 1, "short", 2_500), None);
        assert_eq!(repeats.take(2_500, true).0, [left_out("short".into())]);
        assert_eq!(repeats.take(9_000, true), (vec![], None));
    }

    #[test]
    fn more_kinds_than_places_are_written() {
        let repeats = repeats();
        for line in (1..).take(2 * KINDS) {
            assert_eq!(admit(repeats, Level::Error, line, "", 1_000), Some(0));
        }
        assert_eq!(admit(repeats, Level::Error, 1, "", 1_000), None);
        assert_eq!(admit(repeats, Level::Error, 100, "", 1_000), Some(0));
    }
}
