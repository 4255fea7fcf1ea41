//! The allocator of the daemon, which forks: the system's, with a small piece of memory of its own in front of it.
//!
//! After a fork, each page that one of the two processes writes to is copied. The system's allocator spreads what
//! it hands out, and what it notes about that, over all pages that were ever in use: a child that allocates some
//! twenty small things makes the kernel copy as many pages, and so does its master with each fork. Here small
//! things lie side by side, in one piece for the master and one for the child. What each child writes to in any case (the
//! title, the locks of the log, what the spool notes) lies in the first page of the child's, too.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How much there is for the master, and how much for a child. What does not fit goes to the system's allocator.
const ROOM: usize = 64 * 1024 - ALIGNED;
/// What is larger than that goes there as well.
const SMALL: usize = 4 * 1024;
/// What needs to be aligned more strictly, too. (Hash tables need that much.)
const ALIGNED: usize = 16;

/// And all is aligned like this: structures of the kernel lie in vectors of bytes, as they may with malloc(3).
const LEAST: usize = align_of::<usize>();

/// The allocator, for `#[global_allocator]`. It is the system's until a piece is used.
#[derive(Debug)]
pub struct Heap;

/// A piece of memory that is handed out from its beginning to its end. Only what was handed out last is taken
/// back: it is for processes that live shortly, or allocate little.
#[repr(C, align(4096))]
struct Piece {
    /// How much of it is in use. In the page that is handed out first.
    used: AtomicUsize,
    /// Whether it is what the calling process allocates from.
    serves: AtomicBool,
    memory: UnsafeCell<Memory>,
}

/// Aligned as strictly as anything that lies in it.
#[repr(align(16))]
struct Memory(#[expect(dead_code, reason = "it is handed out by its address")] [u8; ROOM]);

const _: () = assert!(align_of::<Memory>() == ALIGNED && size_of::<Piece>() == 64 * 1024);

// SAFETY: `used` and `serves` are changed by atomic operations alone, and whoever has moved it from one value to a greater one is
// the only owner of the bytes in between.
unsafe impl Sync for Piece {}

impl Piece {
    const fn new() -> Self {
        Self {
            used: AtomicUsize::new(0),
            serves: AtomicBool::new(false),
            memory: UnsafeCell::new(Memory([0; ROOM])),
        }
    }

    fn start(&self) -> *mut u8 {
        self.memory.get().cast()
    }

    /// Where `pointer` is in it, if it is.
    fn offset_of(&self, pointer: *mut u8) -> Option<usize> {
        let offset = pointer.addr().checked_sub(self.start().addr())?;
        (offset < ROOM).then_some(offset)
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        if layout.size() > SMALL || layout.align() > ALIGNED {
            return None;
        }
        let used = self.used.load(Ordering::Relaxed);
        let from = used.next_multiple_of(layout.align().max(LEAST));
        let to = from + layout.size();
        if to > ROOM || !self.move_end(used, to) {
            return None;
        }
        // SAFETY: `from` is within the piece, whose memory begins with the strictest alignment that there is.
        Some(unsafe { self.start().add(from) })
    }

    /// Changes how much is in use, if that is still as it was. (Another thread can have changed it; then whoever
    /// asks gets nothing from here.)
    fn move_end(&self, before: usize, after: usize) -> bool {
        self.used
            .compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

static MASTERS: Piece = Piece::new();
static CHILDS: Piece = Piece::new();

/// The piece that the calling process allocates from, if it has one.
fn piece() -> Option<&'static Piece> {
    [&CHILDS, &MASTERS]
        .into_iter()
        .find(|piece| piece.serves.load(Ordering::Relaxed))
}

/// The piece that `pointer` is from, and where it is there.
fn piece_of(pointer: *mut u8) -> Option<(&'static Piece, usize)> {
    [&MASTERS, &CHILDS]
        .into_iter()
        .find_map(|piece| Some((piece, piece.offset_of(pointer)?)))
}

/// From now on small things lie in the master's piece.
pub(crate) fn use_masters() {
    MASTERS.serves.store(true, Ordering::Relaxed);
}

/// Small things that this allocates lie in the page that each child writes to anyway. To be called in the master.
pub(crate) fn for_children<T>(allocate: impl FnOnce() -> T) -> T {
    CHILDS.serves.store(true, Ordering::Relaxed);
    let done = allocate();
    CHILDS.serves.store(false, Ordering::Relaxed);
    done
}

/// From now on small things lie in the child's piece. To be called once, in a child.
pub(crate) fn use_childs() {
    CHILDS.serves.store(true, Ordering::Relaxed);
}

// SAFETY: what is handed out is either the system allocator's, and goes back there, or bytes of a piece that
// belong to nobody else and are not handed out again before they came back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match piece().and_then(|piece| piece.take(layout)) {
            Some(pointer) => pointer,
            // SAFETY: as the caller promises.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match piece_of(pointer) {
            Some((piece, offset)) if std::ptr::eq(piece, &raw const CHILDS) => {
                piece.move_end(offset + layout.size(), offset);
            }
            // A child leaves what was its master's as it is.
            Some((piece, offset)) if !CHILDS.serves.load(Ordering::Relaxed) => {
                piece.move_end(offset + layout.size(), offset);
            }
            Some(_) => {}
            // SAFETY: it is not from a piece, so it is from the system's allocator.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some((piece, offset)) = piece_of(pointer) else {
            // SAFETY: it is not from a piece, so it is from the system's allocator.
            return unsafe { System.realloc(pointer, layout, size) };
        };
        let (end, new_end) = (offset + layout.size(), offset + size);
        if size <= SMALL && new_end <= ROOM && piece.move_end(end, new_end) {
            return pointer;
        }
        // SAFETY: the caller promises that `size`, rounded up to this alignment, does not overflow.
        let new_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the caller promises that `size` is not zero.
        let new = unsafe { self.alloc(new_layout) };
        if !new.is_null() {
            // SAFETY: both are valid for as many bytes, and do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(pointer, new, layout.size().min(size)) };
            // SAFETY: it was handed out by this allocator, with this layout.
            unsafe { self.dealloc(pointer, layout) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was handed out: where, how much, and with which byte it was filled.
    type Taken = (*mut u8, Layout, u8);

    fn is_filled(&(pointer, layout, byte): &Taken) -> bool {
        // SAFETY: it was handed out with this layout, filled, and not given back yet.
        let bytes = unsafe { std::slice::from_raw_parts(pointer, layout.size()) };
        bytes.iter().all(|found| *found == byte)
    }

    #[test]
    fn what_is_handed_out_belongs_to_one_owner() {
        use_childs();
        let mut taken: Vec<Taken> = Vec::new();
        let mut state = 1_u32;
        let mut from_piece = 0;
        for step in 0..20_000_u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (what, which) = (state >> 30, (state >> 8) as usize);
            let byte = step.to_le_bytes()[0];
            let size = 1 + which % if which % 50 == 0 { 10_000 } else { 100 };
            if what < 2 || taken.is_empty() {
                let align = 1 << (which % 8);
                let layout = Layout::from_size_align(size, align).expect("a layout");
                // SAFETY: the size is not zero.
                let pointer = unsafe { Heap.alloc(layout) };
                assert!(
                    !pointer.is_null() && pointer.addr() % align.max(LEAST) == 0
                        || piece_of(pointer).is_none()
                );
                from_piece += u32::from(piece_of(pointer).is_some());
                // SAFETY: it was just handed out.
                unsafe { pointer.write_bytes(byte, size) };
                taken.push((pointer, layout, byte));
                continue;
            }
            // Mostly the last, as programs do.
            let index = if which % 3 > 0 {
                taken.len() - 1
            } else {
                which % taken.len()
            };
            let (pointer, layout, byte) = taken.swap_remove(index);
            assert!(is_filled(&(pointer, layout, byte)), "step {step}");
            if what == 2 {
                // SAFETY: it was handed out with this layout, and is forgotten now.
                unsafe { Heap.dealloc(pointer, layout) };
                continue;
            }
            // SAFETY: the same; the new size is not zero.
            let pointer = unsafe { Heap.realloc(pointer, layout, size) };
            let new = Layout::from_size_align(size, layout.align()).expect("a layout");
            let kept = Layout::from_size_align(size.min(layout.size()), 1).expect("a layout");
            assert!(is_filled(&(pointer, kept, byte)), "step {step}");
            // SAFETY: it was just handed out.
            unsafe { pointer.write_bytes(byte, size) };
            taken.push((pointer, new, byte));
        }
        assert!(taken.iter().all(is_filled));
        assert!(from_piece > 500, "{from_piece}");
        assert!(CHILDS.used.load(Ordering::Relaxed) <= ROOM);
    }

    #[test]
    fn what_was_handed_out_last_is_taken_back() {
        let piece = Piece::new();
        let layout = Layout::from_size_align(100, 8).expect("a layout");
        let first = piece.take(layout).expect("room");
        let second = piece.take(layout).expect("room");
        assert_eq!(second.addr() - first.addr(), 104);
        let offset = piece.offset_of(second).expect("its own");
        assert!(piece.move_end(offset + 100, offset));
        assert_eq!(piece.take(layout), Some(second));
        let large = Layout::from_size_align(SMALL + 1, 8).expect("a layout");
        let aligned = Layout::from_size_align(16, 64).expect("a layout");
        assert_eq!((piece.take(large), piece.take(aligned)), (None, None));
        assert_eq!(
            (0..1_000).filter_map(|_| piece.take(layout)).count(),
            ROOM / 104 - 2
        );
    }
}
