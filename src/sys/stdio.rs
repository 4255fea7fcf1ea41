//! Whether somebody has started us without a standard input or output.
//!
//! Before `main`, the runtime opens /dev/null in the place of standard descriptors that are closed. What is
//! printed there is lost, and what is read there is empty; nobody has asked for that, and who wants it says so with
//! `>/dev/null`. So it is looked at before the runtime is.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static INPUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);
static OUTPUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look() {
    // SAFETY: F_GETFD touches no memory and changes nothing.
    let is_closed = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1;
    INPUT_IS_CLOSED.store(is_closed(libc::STDIN_FILENO), Ordering::Relaxed);
    OUTPUT_IS_CLOSED.store(is_closed(libc::STDOUT_FILENO), Ordering::Relaxed);
}

// SAFETY: the loader calls what this section lists before `main`. `look` needs nothing that is not there by
// then: system calls and atomics.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Whether standard input was closed when this program was started.
pub(crate) fn input_is_closed() -> bool {
    INPUT_IS_CLOSED.load(Ordering::Relaxed)
}

/// Whether standard output was closed when this program was started.
pub(crate) fn output_is_closed() -> bool {
    OUTPUT_IS_CLOSED.load(Ordering::Relaxed)
}

/// Writes all of `bytes` to standard error. It takes no lock, as the standard library does: what is written to after a
/// fork is copied.
///
/// # Errors
/// Those of `write(2)`.
pub(crate) fn write_to_standard_error(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(io::stderr(), bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Puts /dev/null in the place of standard input and output: for a child that neither reads nor prints, and is not to
/// keep what its parent was given open.
///
/// # Errors
/// Those of `open(2)` and `dup2(2)`.
pub(crate) fn release_input_and_output() -> io::Result<File> {
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&nowhere)?;
    nix::unistd::dup2_stdout(&nowhere)?;
    Ok(nowhere)
}

/// The same, and for standard error: for a child that has nothing to do with the terminal of its parent.
///
/// # Errors
/// Those of `open(2)` and `dup2(2)`.
pub(crate) fn let_go() -> io::Result<()> {
    nix::unistd::dup2_stderr(&release_input_and_output()?)?;
    Ok(())
}
