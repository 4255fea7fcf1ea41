//! The allocator of the daemon: bump allocators for the master and a child, backed by the system allocator.
//!
//! After a fork, each page that either process writes to is copied. The system allocator spreads small allocations over
//! all pages ever in use, so each fork copies some twenty pages for the child and as many for the master. Here small
//! allocations are contiguous. The first page of the child's piece also holds what each child writes to anyway: the
//! title, the log's locks and the spool's notes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The capacity of a piece, in bytes. When it is full, the system allocator is used.
const ROOM: usize = 64 * 1024 - ALIGNED;
/// The size of the largest allocation in a piece, in bytes.
const SMALL: usize = 4 * 1024;
/// The strictest alignment in a piece, in bytes. Hash tables need it.
const ALIGNED: usize = 16;

/// The minimum alignment in bytes. Byte vectors hold kernel structures, which relies on the alignment of malloc(3).
const LEAST: usize = align_of::<usize>();

/// The allocator for `#[global_allocator]`. It uses the system allocator until a piece is in use.
#[derive(Debug)]
pub struct Heap;

/// A bump allocator that reclaims only the latest allocation, for processes that are short-lived or allocate little.
#[repr(C, align(4096))]
struct Piece {
    /// The number of bytes in use. It shares a page with the first allocations.
    used: AtomicUsize,
    /// Whether the calling process allocates from this piece.
    serves: AtomicBool,
    memory: UnsafeCell<Memory>,
}

/// The memory of a piece, with the strictest alignment of its allocations.
#[repr(align(16))]
struct Memory(#[expect(dead_code, reason = "it is accessed by address")] [u8; ROOM]);

const _: () = assert!(align_of::<Memory>() == ALIGNED && size_of::<Piece>() == 64 * 1024);

// SAFETY: `used` and `serves` are atomic. The thread that raises `used` is the only owner of the bytes that this adds.
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

    /// Returns the offset of `pointer` in this piece, if it points into it.
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
        // SAFETY: `from` is within the memory, whose start has the strictest alignment.
        Some(unsafe { self.start().add(from) })
    }

    /// Changes `used` from `before` to `after`. Returns `false` if another thread has changed it.
    fn move_end(&self, before: usize, after: usize) -> bool {
        self.used
            .compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

static MASTERS: Piece = Piece::new();
static CHILDS: Piece = Piece::new();

/// Returns the piece that the calling process allocates from, if any.
fn piece() -> Option<&'static Piece> {
    [&CHILDS, &MASTERS]
        .into_iter()
        .find(|piece| piece.serves.load(Ordering::Relaxed))
}

/// Returns the piece that contains `pointer`, and its offset there.
fn piece_of(pointer: *mut u8) -> Option<(&'static Piece, usize)> {
    [&MASTERS, &CHILDS]
        .into_iter()
        .find_map(|piece| Some((piece, piece.offset_of(pointer)?)))
}

/// Makes the calling process allocate from the master's piece.
pub(crate) fn use_masters() {
    MASTERS.serves.store(true, Ordering::Relaxed);
}

/// Makes `allocate` allocate from the child's piece: for data that each child writes to. Must be called in the master.
pub(crate) fn for_children<T>(allocate: impl FnOnce() -> T) -> T {
    CHILDS.serves.store(true, Ordering::Relaxed);
    let done = allocate();
    CHILDS.serves.store(false, Ordering::Relaxed);
    done
}

/// Makes the calling process allocate from the child's piece. Must be called once, in a child.
pub(crate) fn use_childs() {
    CHILDS.serves.store(true, Ordering::Relaxed);
}

// SAFETY: an allocation is either made and freed by the system allocator, or consists of bytes of a piece that have no
// other owner and are not reused before they are freed.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match piece().and_then(|piece| piece.take(layout)) {
            Some(pointer) => pointer,
            // SAFETY: the caller keeps the contract of `alloc`.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match piece_of(pointer) {
            Some((piece, offset)) if std::ptr::eq(piece, &raw const CHILDS) => {
                piece.move_end(offset + layout.size(), offset);
            }
            // A child does not free memory of the master: that would copy a page, and the child would not reuse it.
            Some((piece, offset)) if !CHILDS.serves.load(Ordering::Relaxed) => {
                piece.move_end(offset + layout.size(), offset);
            }
            Some(_) => {}
            // SAFETY: memory outside of the pieces comes from the system allocator.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some((piece, offset)) = piece_of(pointer) else {
            // SAFETY: memory outside of the pieces comes from the system allocator.
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
            // SAFETY: both are valid for that many bytes, and do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(pointer, new, layout.size().min(size)) };
            // SAFETY: this allocator has allocated it with this layout.
            unsafe { self.dealloc(pointer, layout) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An allocation: its address, its layout, and the byte that it is filled with.
    type Taken = (*mut u8, Layout, u8);

    fn is_filled(&(pointer, layout, byte): &Taken) -> bool {
        // SAFETY: it was allocated with this layout, filled, and not freed yet.
        let bytes = unsafe { std::slice::from_raw_parts(pointer, layout.size()) };
        bytes.iter().all(|found| *found == byte)
    }

    #[test]
    fn live_allocations_do_not_overlap() {
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
                // SAFETY: it was just allocated with this size.
                unsafe { pointer.write_bytes(byte, size) };
                taken.push((pointer, layout, byte));
                continue;
            }
            // Mostly free or resize the latest allocation, as programs do.
            let index = if which % 3 > 0 {
                taken.len() - 1
            } else {
                which % taken.len()
            };
            let (pointer, layout, byte) = taken.swap_remove(index);
            assert!(is_filled(&(pointer, layout, byte)), "step {step}");
            if what == 2 {
                // SAFETY: it was allocated with this layout, and is not used again.
                unsafe { Heap.dealloc(pointer, layout) };
                continue;
            }
            // SAFETY: as above; the new size is not zero.
            let pointer = unsafe { Heap.realloc(pointer, layout, size) };
            let new = Layout::from_size_align(size, layout.align()).expect("a layout");
            let kept = Layout::from_size_align(size.min(layout.size()), 1).expect("a layout");
            assert!(is_filled(&(pointer, kept, byte)), "step {step}");
            // SAFETY: it was just resized to this size.
            unsafe { pointer.write_bytes(byte, size) };
            taken.push((pointer, new, byte));
        }
        assert!(taken.iter().all(is_filled));
        assert!(from_piece > 500, "{from_piece}");
        assert!(CHILDS.used.load(Ordering::Relaxed) <= ROOM);
    }

    #[test]
    fn reuses_the_latest_allocation_after_it_is_freed() {
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
