//! A submission queue in memory that processes share: many producers, each with a slot of its own, and one consumer.
//!
//! A producer submits bytes in its slot and waits (futex(2)) until they are completed. The consumer takes all
//! submissions that have gathered, deals with them at once, and completes them. When the consumer dies, its supervisor
//! closes the queue, which completes all submissions as [`Completion::Unknown`], and the next consumer opens it again.
//! When a producer dies, its slot is the next producer's.

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags};

use super::futex::{self, WakeTime};

/// The number of slots.
pub(crate) const SLOTS: usize = 2_048;
/// The capacity of a slot, in bytes.
pub(crate) const SLOT_BYTES: usize = 8 * WORDS;
const WORDS: usize = 126;
/// The number of words that the users of the queue share for other purposes.
const SHARED_WORDS: usize = 6;
/// The number of slots that share a futex word: a futex tells 32 waiters apart, by the bits of a mask.
const SLOTS_PER_FUTEX: usize = 32;

/// The states of the queue. It begins as `NEW`; only `OPEN` takes submissions.
const NEW: u32 = 0;
const OPEN: u32 = 1;
const PAUSED: u32 = 2;
const DRAINING: u32 = 3;
const CLOSED: u32 = 4;
/// A producer wakes the consumer once more after this time: the one that had to wake it may have been killed.
const WAKE_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A handle to the queue. The memory stays for as long as one of the processes lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubmissionQueue {
    shared: &'static Shared,
    slots: &'static [QueueSlot],
}

#[repr(C)]
#[derive(Debug)]
struct Shared {
    state: AtomicU32,
    /// 1 while the consumer sleeps.
    asleep: AtomicU32,
    /// No slot from this one on was ever used: its memory is not allocated.
    used: AtomicUsize,
    /// A bit for each slot: it holds a submission that was not taken yet.
    submitted: [AtomicU64; SLOTS / 64],
    /// A bit for each slot: its producer is busy.
    busy: [AtomicU64; SLOTS / 64],
    words: [AtomicU64; SHARED_WORDS],
    /// Futex words: each counts the completions of its slots.
    completions: [AtomicU32; SLOTS / SLOTS_PER_FUTEX],
}

/// The slot of one producer: a kibibyte.
#[repr(C)]
#[derive(Debug)]
struct QueueSlot {
    /// The numbers of the last submission, and of the last one that was completed.
    last: AtomicU32,
    completed: AtomicU32,
    /// 1 when that one was completed as done.
    done: AtomicU32,
    len: AtomicU32,
    words: [AtomicU64; WORDS],
}

/// A submission that the consumer has taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenEntry {
    slot: usize,
    number: u32,
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// The consumer has dealt with it.
    Done,
    /// The consumer has failed, or has died: it may have dealt with it, or not.
    Unknown,
    /// The consumer did not complete it in time.
    TimedOut,
}

impl SubmissionQueue {
    /// Makes a queue for this process and those that it forks. It takes no submissions until it is opened.
    ///
    /// # Errors
    /// Those of `mmap(2)`.
    pub(crate) fn new() -> io::Result<Self> {
        const LEN: usize = size_of::<Shared>() + SLOTS * size_of::<QueueSlot>();
        let bytes = NonZeroUsize::new(LEN).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // The kernel allocates a page when it is first used.
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: the kernel chooses a place where nothing is.
        let start = unsafe { nix::sys::mman::mmap_anonymous(None, bytes, access, flags) }?;
        let shared: NonNull<Shared> = start.cast();
        // SAFETY: it is mapped for good, zeros are valid in both, it is aligned to a page and the slots to 8 bytes
        // behind it, and all of it is read and written through atomics alone.
        Ok(unsafe {
            let first: NonNull<QueueSlot> = shared.add(1).cast();
            Self {
                shared: shared.as_ref(),
                slots: std::slice::from_raw_parts(first.as_ptr(), SLOTS),
            }
        })
    }

    /// Words for any other purpose of the processes that share the queue, 0 at first.
    pub(crate) fn words(self) -> &'static [AtomicU64; SHARED_WORDS] {
        &self.shared.words
    }

    /// Whether the queue takes submissions.
    pub(crate) fn is_open(self) -> bool {
        self.is(OPEN)
    }

    fn is(self, state: u32) -> bool {
        self.shared.state.load(SeqCst) == state
    }

    /// The number of producers that are busy.
    pub(crate) fn busy(self) -> u32 {
        let ones = |word: &AtomicU64| word.load(Relaxed).count_ones();
        self.shared.busy.iter().map(ones).sum()
    }

    /// Notes whether the producer of this slot is busy.
    pub(crate) fn set_busy(self, slot: usize, busy: bool) {
        let Some(word) = self.shared.busy.get(slot / 64) else {
            return;
        };
        let bit = 1 << (slot % 64);
        if busy {
            word.fetch_or(bit, Relaxed);
        } else {
            word.fetch_and(!bit, Relaxed);
        }
    }

    /// Submits the `parts`, one behind the other, in the slot of this process; the number to [`wait`](Self::wait) with.
    /// `None` when they are more than [`SLOT_BYTES`], there is no such slot, or the queue is not open.
    pub(crate) fn submit(self, slot: usize, parts: &[&[u8]]) -> Option<u32> {
        let here = self.slots.get(slot)?;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > SLOT_BYTES || !self.is_open() {
            return None;
        }
        if self.shared.used.load(SeqCst) <= slot {
            self.shared.used.fetch_max(slot + 1, SeqCst);
        }
        here.put(parts, len);
        // A number that no earlier producer of this slot waits for, or was answered with.
        let (last, completed) = (here.last.load(SeqCst), here.completed.load(SeqCst));
        let number = last.wrapping_add(1);
        let number = if number == completed {
            number.wrapping_add(1)
        } else {
            number
        };
        here.last.store(number, SeqCst);
        self.shared.submitted[slot / 64].fetch_or(1 << (slot % 64), SeqCst);
        self.wake();
        Some(number)
    }

    /// Waits until the submission with this number is completed, for at most `limit`.
    pub(crate) fn wait(self, slot: usize, number: u32, limit: Duration) -> Completion {
        let Some(here) = self.slots.get(slot) else {
            return Completion::Unknown;
        };
        let completions = &self.shared.completions[slot / SLOTS_PER_FUTEX];
        let mut until = None;
        let (mut woken, mut late) = (false, false);
        loop {
            let seen = completions.load(SeqCst);
            if here.completed.load(SeqCst) == number {
                return match here.done.load(SeqCst) {
                    1 => Completion::Done,
                    _ => Completion::Unknown,
                };
            }
            if self.is(CLOSED) {
                return Completion::Unknown;
            }
            if late {
                return Completion::TimedOut;
            }
            let end = until.get_or_insert_with(|| WakeTime::after(WAKE_AGAIN_AFTER.min(limit)));
            if futex::wait(completions, seen, 1 << (slot % SLOTS_PER_FUTEX), Some(end)) {
                continue;
            }
            late = woken;
            if !woken {
                self.wake_always();
                woken = true;
                until = Some(WakeTime::after(limit.saturating_sub(WAKE_AGAIN_AFTER)));
            }
        }
    }

    /// Wakes the consumer, if it sleeps.
    fn wake(self) {
        let asleep = &self.shared.asleep;
        if asleep.load(SeqCst) == 1 && asleep.swap(0, SeqCst) == 1 {
            futex::wake(asleep, u32::MAX);
        }
    }

    /// Wakes the consumer also where a process has noted that it is awake, and was killed before it woke it.
    fn wake_always(self) {
        self.shared.asleep.store(0, SeqCst);
        futex::wake(&self.shared.asleep, u32::MAX);
    }

    /// For the consumer: takes submissions from now on, unless it was asked to drain the queue.
    pub(crate) fn open(self) {
        let _ = self.change(NEW, OPEN) || self.change(CLOSED, OPEN);
        futex::wake(&self.shared.state, u32::MAX);
    }

    /// Waits until the queue has been opened or closed for the first time, for at most `limit`; whether it is open.
    pub(crate) fn opens_within(self, limit: Duration) -> bool {
        let state = &self.shared.state;
        let until = WakeTime::after(limit);
        while self.is(NEW) && futex::wait(state, NEW, u32::MAX, Some(&until)) {}
        self.is_open()
    }

    /// For the consumer, or the process that knows that it has died: takes no submissions any more, and completes all
    /// that there are as [`Completion::Unknown`].
    pub(crate) fn close(self) {
        self.shared.state.store(CLOSED, SeqCst);
        futex::wake(&self.shared.state, u32::MAX);
        // A producer may look at the state only when the next consumer has opened the queue.
        for slot in self.slots.iter().take(self.shared.used.load(SeqCst)) {
            let last = slot.last.load(SeqCst);
            if last != slot.completed.load(SeqCst) {
                slot.complete(last, Completion::Unknown);
            }
        }
        for completions in &self.shared.completions {
            completions.fetch_add(1, SeqCst);
            futex::wake(completions, u32::MAX);
        }
        self.wake_always();
    }

    /// For the consumer, or a producer that has waited for too long: takes no submissions until it resumes.
    pub(crate) fn pause(self) {
        self.change(OPEN, PAUSED);
        // So that the consumer sees it.
        self.wake_always();
    }

    /// For the consumer: takes submissions again, if the queue was paused.
    pub(crate) fn resume(self) {
        self.change(PAUSED, OPEN);
    }

    /// Whether the queue is paused.
    pub(crate) fn is_paused(self) -> bool {
        self.is(PAUSED)
    }

    fn change(self, from: u32, to: u32) -> bool {
        let changed = self.shared.state.compare_exchange(from, to, SeqCst, SeqCst);
        changed.is_ok()
    }

    /// Asks the consumer to deal with the submissions that there are, and to end. The queue takes no more.
    pub(crate) fn drain(self) {
        self.shared.state.store(DRAINING, SeqCst);
        self.wake_always();
    }

    /// Whether the consumer was asked to end.
    pub(crate) fn is_draining(self) -> bool {
        self.is(DRAINING)
    }

    /// For the consumer: takes all submissions, in `taken`, and hands each to `each`. A producer that was killed may
    /// leave a part of one.
    pub(crate) fn take_all(self, taken: &mut Vec<TakenEntry>, mut each: impl FnMut(&[u8])) {
        let mut bytes = [0; SLOT_BYTES];
        for (index, word) in self.shared.submitted.iter().enumerate() {
            if word.load(SeqCst) == 0 {
                continue;
            }
            let mut bits = word.swap(0, SeqCst);
            while bits != 0 {
                let slot = 64 * index + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let here = &self.slots[slot];
                let number = here.last.load(SeqCst);
                if number != here.completed.load(SeqCst) {
                    each(here.get(&mut bytes));
                    taken.push(TakenEntry { slot, number });
                }
            }
        }
    }

    /// For the consumer: completes all of these.
    pub(crate) fn complete(self, taken: &[TakenEntry], completion: Completion) {
        let mut waiting = [0_u32; SLOTS / SLOTS_PER_FUTEX];
        for one in taken {
            self.slots[one.slot].complete(one.number, completion);
            waiting[one.slot / SLOTS_PER_FUTEX] |= 1 << (one.slot % SLOTS_PER_FUTEX);
        }
        for (completions, slots) in self.shared.completions.iter().zip(waiting) {
            if slots != 0 {
                completions.fetch_add(1, SeqCst);
                futex::wake(completions, slots);
            }
        }
    }

    /// For the consumer: sleeps until there is a submission, it is woken, or `limit` is over; whether it was that. Without
    /// a limit it does not sleep while the queue is paused.
    pub(crate) fn sleep(self, limit: Option<Duration>) -> bool {
        let until = limit.map(WakeTime::after);
        let asleep = &self.shared.asleep;
        asleep.store(1, SeqCst);
        let submitted = &self.shared.submitted;
        let any = submitted.iter().any(|word| word.load(SeqCst) != 0);
        let awake = any || self.is_draining() || (limit.is_none() && self.is_paused());
        let late = !awake && !futex::wait(asleep, 1, u32::MAX, until.as_ref());
        // A process that has woken it has noted that.
        asleep.swap(0, SeqCst) == 1 && late
    }
}

impl QueueSlot {
    fn complete(&self, number: u32, completion: Completion) {
        let done = u32::from(completion == Completion::Done);
        self.done.store(done, SeqCst);
        self.completed.store(number, SeqCst);
    }

    fn put(&self, parts: &[&[u8]], len: usize) {
        let mut bytes = [0; SLOT_BYTES];
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

    fn get<'b>(&self, bytes: &'b mut [u8; SLOT_BYTES]) -> &'b [u8] {
        let len = (self.len.load(Relaxed) as usize).min(SLOT_BYTES);
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
