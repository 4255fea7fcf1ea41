//! Random numbers from the kernel only (getrandom(2)).

use std::io;

/// Fills `bytes` with random numbers. A child never repeats those of its parent.
///
/// Blocks until the kernel has seeded its generator, early in the boot.
///
/// # Errors
/// Those of `getrandom(2)`, except EINTR: ENOSYS before Linux 3.17, EPERM where a sandbox forbids the call.
pub(crate) fn fill(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length are those of a writable slice.
        let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        let Ok(n) = usize::try_from(n) else {
            match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => continue,
                e => return Err(e),
            }
        };
        bytes = bytes.get_mut(n..).unwrap_or_default();
    }
    Ok(())
}

/// Returns an array of random numbers, as [`fill`] makes them.
///
/// # Errors
/// As for [`fill`].
pub(crate) fn array<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes).map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_the_whole_buffer() {
        // A signal can interrupt the call after 256 bytes, so larger buffers may need several calls.
        for len in [0, 1, 16, 300, 70_000] {
            let (mut one, mut other) = (vec![0; len], vec![0; len]);
            fill(&mut one).expect("random numbers");
            fill(&mut other).expect("random numbers");
            assert!(len < 16 || one != other);
            for part in one.chunks_exact(100) {
                assert!(part.iter().any(|byte| *byte != 0), "{len}");
            }
        }
    }
}
