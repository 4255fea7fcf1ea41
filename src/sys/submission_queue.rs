//! A submission queue in shared memory, for many producer processes and one consumer.
//!
//! Each producer has a slot. It submits bytes there and waits (futex(2)) until they are completed. The consumer takes
//! all pending submissions, processes them as one batch, and completes them. When the consumer dies, its supervisor
//! closes the queue, which completes all submissions as [`Completion::Unknown`], and the next consumer opens it again.
//! When a producer dies, another one gets its slot.

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
/// The number of words in the mapping that the queue does not use itself.
const SHARED_WORDS: usize = 6;
/// The number of slots that share a futex word: the bit mask of a futex distinguishes 32 waiters.
const SLOTS_PER_FUTEX: usize = 32;

/// The states of the queue. It starts as `NEW`, and takes submissions only while `OPEN`.
const NEW: u32 = 0;
const OPEN: u32 = 1;
const PAUSED: u32 = 2;
const DRAINING: u32 = 3;
const CLOSED: u32 = 4;
/// How long a producer waits before it wakes the consumer again: a producer may have been killed after it cleared
/// `asleep` and before it called futex(2).
const WAKE_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A handle to the queue. The memory is never unmapped.
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
    /// The number of slots up to the highest one ever used. The memory of the others is not allocated.
    used: AtomicUsize,
    /// A bit for each slot: set while it holds a submission that was not taken yet.
    submitted: [AtomicU64; SLOTS / 64],
    /// A bit for each slot: set while its producer is busy.
    busy: [AtomicU64; SLOTS / 64],
    words: [AtomicU64; SHARED_WORDS],
    /// Futex words. Each changes when submissions in its slots are completed.
    completions: [AtomicU32; SLOTS / SLOTS_PER_FUTEX],
}

/// The slot of one producer (1 KiB).
#[repr(C)]
#[derive(Debug)]
struct QueueSlot {
    /// The numbers of the last submission and of the last completed one.
    last: AtomicU32,
    completed: AtomicU32,
    /// 1 if the submission `completed` was completed as [`Completion::Done`].
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

/// The outcome of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// The consumer has processed it.
    Done,
    /// The consumer has failed or died. It may or may not have processed the submission.
    Unknown,
    /// The consumer did not complete it in time.
    TimedOut,
}

impl SubmissionQueue {
    /// Maps a queue for this process and its children (mmap(2)). It takes no submissions until it is opened.
    pub(crate) fn new() -> io::Result<Self> {
        const LEN: usize = size_of::<Shared>() + SLOTS * size_of::<QueueSlot>();
        let bytes = NonZeroUsize::new(LEN).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // The kernel allocates each page on first use.
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: the kernel chooses an unused range of addresses.
        let start = unsafe { nix::sys::mman::mmap_anonymous(None, bytes, access, flags) }?;
        let shared: NonNull<Shared> = start.cast();
        // SAFETY: the mapping is permanent and aligned to a page, and the slots behind `Shared` to 8 bytes. Zeros are
        // valid for both types. All access is through atomics.
        Ok(unsafe {
            let first: NonNull<QueueSlot> = shared.add(1).cast();
            Self {
                shared: shared.as_ref(),
                slots: std::slice::from_raw_parts(first.as_ptr(), SLOTS),
            }
        })
    }

    /// Returns the shared words that the queue does not use itself, initially 0.
    pub(crate) fn words(self) -> &'static [AtomicU64; SHARED_WORDS] {
        &self.shared.words
    }

    /// Returns whether the queue takes submissions.
    pub(crate) fn is_open(self) -> bool {
        self.is(OPEN)
    }

    fn is(self, state: u32) -> bool {
        self.shared.state.load(SeqCst) == state
    }

    /// Returns the number of busy producers.
    pub(crate) fn busy(self) -> u32 {
        let ones = |word: &AtomicU64| word.load(Relaxed).count_ones();
        self.shared.busy.iter().map(ones).sum()
    }

    /// Sets whether the producer of this slot is busy. Ignores a slot that does not exist.
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

    /// Submits the concatenated `parts` in the slot of this process. Returns the number to [`wait`](Self::wait) for;
    /// `None` when the parts exceed [`SLOT_BYTES`], the slot does not exist, or the queue is not open.
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
        // The number must differ from those of the last submission and the last completion. Both may belong to an
        // earlier producer, whose submission the consumer may still complete.
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

    /// Waits up to `limit` until the submission with this number is completed.
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

    /// Wakes the consumer if it sleeps.
    fn wake(self) {
        let asleep = &self.shared.asleep;
        if asleep.load(SeqCst) == 1 && asleep.swap(0, SeqCst) == 1 {
            futex::wake(asleep, u32::MAX);
        }
    }

    /// Wakes the consumer even if `asleep` is 0: a process may have cleared it and been killed before the wake-up.
    fn wake_always(self) {
        self.shared.asleep.store(0, SeqCst);
        futex::wake(&self.shared.asleep, u32::MAX);
    }

    /// For the consumer: opens the queue for submissions, unless it is draining.
    pub(crate) fn open(self) {
        let _ = self.change(NEW, OPEN) || self.change(CLOSED, OPEN);
        futex::wake(&self.shared.state, u32::MAX);
    }

    /// Waits up to `limit` until the queue is opened or closed for the first time. Returns whether it is open.
    pub(crate) fn opens_within(self, limit: Duration) -> bool {
        let state = &self.shared.state;
        let until = WakeTime::after(limit);
        while self.is(NEW) && futex::wait(state, NEW, u32::MAX, Some(&until)) {}
        self.is_open()
    }

    /// For the consumer, or its supervisor after it has died: closes the queue for submissions, and completes all
    /// pending ones as [`Completion::Unknown`].
    pub(crate) fn close(self) {
        self.shared.state.store(CLOSED, SeqCst);
        futex::wake(&self.shared.state, u32::MAX);
        // Complete each slot: the next consumer may reopen the queue before a waiting producer checks the state.
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

    /// For the consumer, or a producer whose wait timed out: makes the queue refuse submissions until
    /// [`resume`](Self::resume).
    pub(crate) fn pause(self) {
        self.change(OPEN, PAUSED);
        // A sleeping consumer must see the new state.
        self.wake_always();
    }

    /// For the consumer: takes submissions again if the queue was paused.
    pub(crate) fn resume(self) {
        self.change(PAUSED, OPEN);
    }

    /// Returns whether the queue is paused.
    pub(crate) fn is_paused(self) -> bool {
        self.is(PAUSED)
    }

    fn change(self, from: u32, to: u32) -> bool {
        let changed = self.shared.state.compare_exchange(from, to, SeqCst, SeqCst);
        changed.is_ok()
    }

    /// Asks the consumer to process the pending submissions and exit. The queue takes no more.
    pub(crate) fn drain(self) {
        self.shared.state.store(DRAINING, SeqCst);
        self.wake_always();
    }

    /// Returns whether the consumer was asked to exit.
    pub(crate) fn is_draining(self) -> bool {
        self.is(DRAINING)
    }

    /// For the consumer: takes all submissions into `taken`, and calls `each` with the bytes of each. The submission of
    /// a killed producer may be incomplete.
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

    /// For the consumer: completes the submissions in `taken`.
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

    /// For the consumer: sleeps until there is a submission, another process wakes it, or `limit` expires. Returns
    /// whether `limit` expired. Without a limit it does not sleep while the queue is paused.
    pub(crate) fn sleep(self, limit: Option<Duration>) -> bool {
        let until = limit.map(WakeTime::after);
        let asleep = &self.shared.asleep;
        asleep.store(1, SeqCst);
        let submitted = &self.shared.submitted;
        let any = submitted.iter().any(|word| word.load(SeqCst) != 0);
        let awake = any || self.is_draining() || (limit.is_none() && self.is_paused());
        let late = !awake && !futex::wait(asleep, 1, u32::MAX, until.as_ref());
        // A process that woke the consumer has cleared `asleep`.
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
