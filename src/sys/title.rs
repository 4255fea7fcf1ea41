//! The title of a process, which ps(1) shows in place of its command line.
//!
//! The kernel reports the bytes from `arg_start` to `arg_end` as the command line (proc(5), /proc/PID/cmdline). The
//! master moves this range to a buffer once, with prctl(PR_SET_MM_MAP). The buffer is in a page that each child writes
//! to anyway, and the original arguments stay intact. Where the kernel refuses the call, titles do not change.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::heap;

/// The size of the title buffer in bytes, with the terminating NUL.
const ROOM: usize = 256;

/// The title buffer; null unless [`prepare`] has succeeded.
static PLACE: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// `struct prctl_mm_map` of linux/prctl.h.
#[repr(C)]
struct MmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: *mut u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Prepares titles for this process and its children. Must be called once, before the first fork.
///
/// # Errors
/// When /proc cannot be read, or the kernel does not support PR_SET_MM_MAP.
pub(crate) fn prepare() -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let wrong = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc/self/stat has an unexpected format",
        )
    };
    // The second field is the program's name in parentheses, which may contain any character.
    let rest = stat.rsplit_once(") ").ok_or_else(wrong)?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    // Fields are numbered as in proc(5). `fields` begins with the third.
    let field = |number: usize| -> io::Result<u64> {
        let text = fields.get(number - 3).ok_or_else(wrong)?;
        text.trim().parse().map_err(|_| wrong())
    };
    let place = Box::leak(heap::for_children(|| Box::new([0; ROOM])));
    let cmdline = std::fs::read("/proc/self/cmdline")?;
    let len = cmdline.len().min(ROOM - 1);
    place[..len].copy_from_slice(&cmdline[..len]);
    // SAFETY: sbrk(0) only returns the current break.
    let brk = unsafe { libc::sbrk(0) } as u64;
    let start = place.as_ptr().addr() as u64;
    let map = MmMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_stack: field(28)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk,
        arg_start: start,
        arg_end: start + ROOM as u64,
        env_start: field(50)?,
        env_end: field(51)?,
        auxv: std::ptr::null_mut(),
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    // SAFETY: the size is that of the structure, and the kernel validates the addresses in it.
    let done = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::PR_SET_MM_MAP,
            &raw const map,
            size_of::<MmMap>(),
            0,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    PLACE.store(place.as_mut_ptr(), Ordering::Relaxed);
    Ok(())
}

/// Sets the title of the calling process to the concatenated `parts`, truncated to the size of the buffer. Does nothing
/// unless [`prepare`] has succeeded.
pub(crate) fn set(parts: &[&str]) {
    let Some(place) = NonNull::new(PLACE.load(Ordering::Relaxed)) else {
        return;
    };
    // SAFETY: the pointer is to a leaked array of this size. No other reference exists: `prepare` keeps none, and the
    // process has only one thread.
    let place = unsafe { place.cast::<[u8; ROOM]>().as_mut() };
    let mut len = 0;
    for part in parts {
        let room = &mut place[len..ROOM - 1];
        let n = part.len().min(room.len());
        room[..n].copy_from_slice(&part.as_bytes()[..n]);
        len += n;
    }
    place[len..].fill(0);
}
