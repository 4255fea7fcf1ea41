//! Memory that one process shares with many: each of the many has a place to leave something in, and waits there until
//! the one has dealt with it.
//!
//! The one takes what has gathered, deals with all of it at once, and then says so to all who wait (futex(2)). Nobody
//! ever waits for a process that has died: what it has left is dealt with, and its place is the next one's.

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags};

use super::futex::{Until, ring, sleep};

/// How many places there are.
pub(crate) const PLACES: usize = 2_048;
/// How many bytes a place has room for.
pub(crate) const ROOM: usize = 8 * WORDS;
const WORDS: usize = 126;
/// How many words are for anything else.
const WORDS_FOR_ALL: usize = 6;
/// How many places a bell wakes, one by one: as many as a futex can tell apart.
const RUNG: usize = 32;

/// What the one does.
const NEW: u32 = 0;
const OPEN: u32 = 1;
const PAUSED: u32 = 2;
const ENDING: u32 = 3;
const CLOSED: u32 = 4;
/// After so long a wait the one is woken once more: whoever should have done that may have been killed.
const SOON: Duration = Duration::from_millis(50);

/// The shared memory. It stays for as long as one of the processes lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handover {
    all: &'static Shared,
    places: &'static [Place],
}

#[repr(C)]
#[derive(Debug)]
struct Shared {
    /// Whether somebody deals with what is left.
    phase: AtomicU32,
    /// 1 while that process sleeps.
    asleep: AtomicU32,
    /// A bit for each place: whether something was left there and not yet taken.
    left: [AtomicU64; PLACES / 64],
    /// A bit for each place: whether its process says that it is busy.
    busy: [AtomicU64; PLACES / 64],
    /// For anything else that all agree upon.
    words: [AtomicU64; WORDS_FOR_ALL],
    /// Counts how often they were rung.
    bells: [AtomicU32; PLACES / RUNG],
}

/// The place of one process: a kibibyte.
#[repr(C)]
#[derive(Debug)]
struct Place {
    /// The number of what was left last, and of what was dealt with last.
    asked: AtomicU32,
    done: AtomicU32,
    /// Whether that went well.
    well: AtomicU32,
    len: AtomicU32,
    words: [AtomicU64; WORDS],
}

/// What was left in a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    place: usize,
    asked: u32,
}

/// What became of something that was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was dealt with.
    Done,
    /// It was not, or nobody knows.
    Unknown,
    /// Nobody has said so in time.
    Late,
}

impl Handover {
    /// Makes it, for this process and those that it forks. It is closed at first.
    ///
    /// # Errors
    /// Those of `mmap(2)`.
    pub(crate) fn new() -> io::Result<Self> {
        const LEN: usize = size_of::<Shared>() + PLACES * size_of::<Place>();
        let bytes = NonZeroUsize::new(LEN).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // Pages that nobody has used are not there.
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: the kernel chooses a place where nothing is.
        let start = unsafe { nix::sys::mman::mmap_anonymous(None, bytes, access, flags) }?;
        let all: NonNull<Shared> = start.cast();
        // SAFETY: it is mapped for good, zeros are valid in both, it is aligned to a page and the places to 8 bytes
        // behind it, and all of it is read and written through atomics alone.
        Ok(unsafe {
            let first: NonNull<Place> = all.add(1).cast();
            Self {
                all: all.as_ref(),
                places: std::slice::from_raw_parts(first.as_ptr(), PLACES),
            }
        })
    }

    /// Words that are for anything else that all agree upon, 0 at first.
    pub(crate) fn words(self) -> &'static [AtomicU64; WORDS_FOR_ALL] {
        &self.all.words
    }

    /// Whether something can be left.
    pub(crate) fn is_open(self) -> bool {
        self.all.phase.load(SeqCst) == OPEN
    }

    /// How many processes say that they are busy.
    pub(crate) fn busy(self) -> u32 {
        let ones = |word: &AtomicU64| word.load(Relaxed).count_ones();
        self.all.busy.iter().map(ones).sum()
    }

    /// Says whether the process of this place is busy.
    pub(crate) fn set_busy(self, place: usize, busy: bool) {
        let Some(word) = self.all.busy.get(place / 64) else {
            return;
        };
        let bit = 1 << (place % 64);
        if busy {
            word.fetch_or(bit, Relaxed);
        } else {
            word.fetch_and(!bit, Relaxed);
        }
    }

    /// Leaves the `parts`, one behind the other, in a place that is this process's alone; the number to wait with. `None`
    /// when they are more than [`ROOM`] bytes, there is no such place, or it is closed.
    pub(crate) fn leave(self, place: usize, parts: &[&[u8]]) -> Option<u32> {
        let here = self.places.get(place)?;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > ROOM || !self.is_open() {
            return None;
        }
        here.put(parts, len);
        // Beyond what any process before us may have left here.
        let (asked, done) = (here.asked.load(SeqCst), here.done.load(SeqCst));
        let number = asked.wrapping_add(1);
        let number = if number == done {
            number.wrapping_add(1)
        } else {
            number
        };
        here.asked.store(number, SeqCst);
        self.all.left[place / 64].fetch_or(1 << (place % 64), SeqCst);
        self.wake();
        Some(number)
    }

    /// Waits until what was left under this number has been dealt with.
    pub(crate) fn wait_for(self, place: usize, number: u32, patience: Duration) -> Answer {
        let (Some(here), bell) = (self.places.get(place), place / RUNG) else {
            return Answer::Unknown;
        };
        let bell = &self.all.bells[bell];
        let mut until = None;
        let (mut woken, mut late) = (false, false);
        loop {
            let heard = bell.load(SeqCst);
            if here.done.load(SeqCst) == number {
                return match here.well.load(SeqCst) {
                    1 => Answer::Done,
                    _ => Answer::Unknown,
                };
            }
            if self.all.phase.load(SeqCst) == CLOSED {
                return Answer::Unknown;
            }
            if late {
                return Answer::Late;
            }
            let end = until.get_or_insert_with(|| Until::after(SOON.min(patience)));
            if sleep(bell, heard, 1 << (place % RUNG), Some(end)) {
                continue;
            }
            late = woken;
            if !woken {
                self.wake_surely();
                woken = true;
                until = Some(Until::after(patience.saturating_sub(SOON)));
            }
        }
    }

    /// Wakes the one, if it sleeps.
    fn wake(self) {
        let asleep = &self.all.asleep;
        if asleep.load(SeqCst) == 1 && asleep.swap(0, SeqCst) == 1 {
            ring(asleep, u32::MAX);
        }
    }

    /// Wakes the one, also where somebody has noted that it is awake, and was killed before it was.
    fn wake_surely(self) {
        self.all.asleep.store(0, SeqCst);
        ring(&self.all.asleep, u32::MAX);
    }

    /// For the one: from now on things can be left.
    pub(crate) fn open(self) {
        self.all.phase.store(OPEN, SeqCst);
        ring(&self.all.phase, u32::MAX);
    }

    /// Waits until it is open for the first time, or closed; whether it is open.
    pub(crate) fn opens_within(self, patience: Duration) -> bool {
        let phase = &self.all.phase;
        let until = Until::after(patience);
        while phase.load(SeqCst) == NEW && sleep(phase, NEW, u32::MAX, Some(&until)) {}
        self.is_open()
    }

    /// For the one, or whoever knows that it has died: nothing can be left any more, and nobody waits.
    pub(crate) fn close(self) {
        self.all.phase.store(CLOSED, SeqCst);
        ring(&self.all.phase, u32::MAX);
        for bell in &self.all.bells {
            bell.fetch_add(1, SeqCst);
            ring(bell, u32::MAX);
        }
        self.wake_surely();
    }

    /// For the one, or whoever has waited for it for too long: nothing can be left until it goes on.
    pub(crate) fn pause(self) {
        self.turn(OPEN, PAUSED);
        // So that it finds out.
        self.wake_surely();
    }

    /// For the one: things can be left again, if it was only pausing.
    pub(crate) fn go_on(self) {
        self.turn(PAUSED, OPEN);
    }

    /// For the one: whether it pauses.
    pub(crate) fn is_paused(self) -> bool {
        self.all.phase.load(SeqCst) == PAUSED
    }

    fn turn(self, from: u32, to: u32) {
        // Otherwise it is as it was: it may have been asked to end.
        let _ = self.all.phase.compare_exchange(from, to, SeqCst, SeqCst);
    }

    /// Asks the one to deal with what was left, and to end.
    pub(crate) fn ask_to_end(self) {
        self.all.phase.store(ENDING, SeqCst);
        self.wake_surely();
    }

    /// For the one: whether it was asked to end.
    pub(crate) fn is_ending(self) -> bool {
        self.all.phase.load(SeqCst) == ENDING
    }

    /// For the one: takes what has been left, in `taken`, and hands each to `each`. A process that was killed may leave
    /// something that is no whole.
    pub(crate) fn take(self, taken: &mut Vec<Taken>, mut each: impl FnMut(&[u8])) {
        let mut bytes = [0; ROOM];
        for (index, word) in self.all.left.iter().enumerate() {
            if word.load(SeqCst) == 0 {
                continue;
            }
            let mut bits = word.swap(0, SeqCst);
            while bits != 0 {
                let place = 64 * index + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let here = &self.places[place];
                let asked = here.asked.load(SeqCst);
                if asked != here.done.load(SeqCst) {
                    each(here.get(&mut bytes));
                    taken.push(Taken { place, asked });
                }
            }
        }
    }

    /// For the one: answers all of these.
    pub(crate) fn answer(self, taken: &[Taken], answer: Answer) {
        let mut rung = [0_u32; PLACES / RUNG];
        for one in taken {
            let here = &self.places[one.place];
            here.well.store(u32::from(answer == Answer::Done), SeqCst);
            here.done.store(one.asked, SeqCst);
            rung[one.place / RUNG] |= 1 << (one.place % RUNG);
        }
        for (bell, whom) in self.all.bells.iter().zip(rung) {
            if whom != 0 {
                bell.fetch_add(1, SeqCst);
                ring(bell, whom);
            }
        }
    }

    /// For the one: sleeps until something is left, it is woken, or `limit` is over; whether it was that. Without a limit it
    /// does not sleep while it pauses.
    pub(crate) fn sleep(self, limit: Option<Duration>) -> bool {
        let until = limit.map(Until::after);
        let asleep = &self.all.asleep;
        asleep.store(1, SeqCst);
        let any = self.all.left.iter().any(|word| word.load(SeqCst) != 0);
        let awake = any || self.is_ending() || (limit.is_none() && self.is_paused());
        let late = !awake && !sleep(asleep, 1, u32::MAX, until.as_ref());
        // Whoever woke it has noted that.
        asleep.swap(0, SeqCst) == 1 && late
    }
}

impl Place {
    fn put(&self, parts: &[&[u8]], len: usize) {
        let mut bytes = [0; ROOM];
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        for (word, chunk) in self.words.iter().zip(bytes[..len].chunks(8)) {
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(value), Relaxed);
        }
        self.len.store(u32::try_from(len).unwrap_or(0), Relaxed);
    }

    fn get<'b>(&self, bytes: &'b mut [u8; ROOM]) -> &'b [u8] {
        let len = (self.len.load(Relaxed) as usize).min(ROOM);
        for (word, chunk) in self
            .words
            .iter()
            .zip(bytes[..len.next_multiple_of(8)].chunks_mut(8))
        {
            chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes()[..chunk.len()]);
        }
        &bytes[..len]
    }
}

#[cfg(test)]
mod tests;
