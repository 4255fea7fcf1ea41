//! Whether somebody has started us without a standard output.
//!
//! Before `main`, the runtime opens /dev/null in the place of standard descriptors that are closed. What is
//! printed there is lost, and nobody has asked for that; who wants it lost says so with `>/dev/null`. So it
//! is looked at before the runtime is.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static OUTPUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look() {
    // SAFETY: F_GETFD touches no memory and changes nothing.
    let closed = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1;
    OUTPUT_IS_CLOSED.store(closed, Ordering::Relaxed);
}

// SAFETY: the loader calls what this section lists before `main`. `look` needs nothing that is not there by
// then: one system call and one atomic.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Whether standard output was closed when this program was started.
pub(crate) fn output_is_closed() -> bool {
    OUTPUT_IS_CLOSED.load(Ordering::Relaxed)
}

/// Puts /dev/null in the place of standard input, output and error: for a child that has nothing to do with
/// the terminal of its parent, and is not to keep it open.
///
/// # Errors
/// Those of `open(2)` and `dup2(2)`.
pub(crate) fn let_go() -> io::Result<()> {
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&nowhere)?;
    nix::unistd::dup2_stdout(&nowhere)?;
    nix::unistd::dup2_stderr(&nowhere)?;
    Ok(())
}
