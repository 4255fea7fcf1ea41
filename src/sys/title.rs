//! The title of a process: what ps(1) shows in place of its command line.
//!
//! The kernel shows the bytes from `arg_start` to `arg_end` of the process (proc(5), /proc/PID/cmdline). Once, in the
//! master, they are moved to memory of our own with prctl(PR_SET_MM_MAP), which costs nothing later: a child writes its
//! title there, into a page that it writes to anyway, and nothing that was on the command line is overwritten. Where
//! the kernel does not allow that, titles stay what they are.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::heap;

/// How long a title can be, with a NUL at its end.
const ROOM: usize = 256;

/// Where titles are written to; null while that is nowhere.
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

/// Prepares titles for this process and its children. To be called once, before the first fork.
///
/// # Errors
/// When /proc cannot be read, or the kernel was built without it.
pub(crate) fn prepare() -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let wrong = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc/self/stat is not as expected",
        )
    };
    // The second field is the program's name in parentheses, and may hold anything.
    let rest = stat.rsplit_once(") ").ok_or_else(wrong)?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    // The numbers of proc(5), of which the first two are gone.
    let field = |number: usize| -> io::Result<u64> {
        let text = fields.get(number - 3).ok_or_else(wrong)?;
        text.trim().parse().map_err(|_| wrong())
    };
    let place = Box::leak(heap::for_children(|| Box::new([0; ROOM])));
    let cmdline = std::fs::read("/proc/self/cmdline")?;
    let len = cmdline.len().min(ROOM - 1);
    place[..len].copy_from_slice(&cmdline[..len]);
    // SAFETY: sbrk(0) changes nothing.
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
    // SAFETY: the structure is as long as we say, and the kernel checks that its addresses are ours.
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

/// Sets the title of the calling process to these `parts`, if [`prepare`] was done. What is too long is cut.
pub(crate) fn set(parts: &[&str]) {
    let Some(place) = NonNull::new(PLACE.load(Ordering::Relaxed)) else {
        return;
    };
    // SAFETY: it points to so many bytes that live as long as the process, and that nobody else looks at: there is
    // no other thread, and `prepare` has let go of them.
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
