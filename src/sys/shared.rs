//! Memory that a process shares with the processes that it forks.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags};

/// Maps `count` words, which are 0, for this process and its future children (mmap(2)). They are never unmapped.
///
/// # Errors
/// Those of `mmap(2)`; `InvalidInput` for no words.
pub(crate) fn words(count: usize) -> io::Result<&'static [AtomicU64]> {
    let bytes = count.checked_mul(size_of::<AtomicU64>());
    let bytes = bytes.and_then(NonZeroUsize::new);
    let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // The kernel allocates each page on first use.
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
    // SAFETY: the kernel chooses an unused range of addresses.
    let start = unsafe { nix::sys::mman::mmap_anonymous(None, bytes, access, flags) }?;
    // SAFETY: the mapping is permanent, aligned to a page and large enough. Zeros are valid words, and all access is
    // through atomics.
    Ok(unsafe { std::slice::from_raw_parts(start.cast().as_ptr(), count) })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    #[test]
    fn maps_as_many_words_as_asked_for() {
        let words = words(1_000).expect("mapped");
        assert_eq!(words.len(), 1_000);
        assert!(words.iter().all(|word| word.load(SeqCst) == 0));
        words[999].store(7, SeqCst);
        assert_eq!(words[999].load(SeqCst), 7);
        assert!(super::words(0).is_err());
    }
}
