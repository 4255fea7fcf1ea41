//! Random numbers, from the kernel and from nowhere else.

use std::io;

/// Fills `bytes` with random numbers: a forked child never gets its parent's.
///
/// It waits for the kernel to have some, which it has from early in the start of the machine on.
///
/// # Errors
/// Those of `getrandom(2)`, but for EINTR: ENOSYS before Linux 3.17, EPERM where a sandbox forbids the call.
pub(crate) fn fill(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the pointer is to as many bytes as we say, which are ours to write.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_filled() {
        // More than the kernel gives with one call when a signal comes (256).
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
