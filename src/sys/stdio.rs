//! Standard input, output and error: detects whether they are closed, and redirects them.
//!
//! Before `main`, the Rust runtime opens /dev/null in place of closed standard descriptors. Output would then be lost
//! without an error, as if the user had asked for `>/dev/null`. The check therefore runs before the runtime starts.

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

// SAFETY: the loader calls the functions in this section before `main`. `look` does not need the runtime: it uses only
// system calls and atomics.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Returns whether standard input was closed when this program was started.
pub(crate) fn input_is_closed() -> bool {
    INPUT_IS_CLOSED.load(Ordering::Relaxed)
}

/// Returns whether standard output was closed when this program was started.
pub(crate) fn output_is_closed() -> bool {
    OUTPUT_IS_CLOSED.load(Ordering::Relaxed)
}

/// Writes all of `bytes` to standard error with write(2). Unlike the standard library it takes no lock: after a fork,
/// writing to the lock would copy a page.
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

/// Redirects standard input and output to /dev/null with dup2(2), and returns that file. For a child that uses neither
/// and must not keep its parent's files open.
pub(crate) fn release_input_and_output() -> io::Result<File> {
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&nowhere)?;
    nix::unistd::dup2_stdout(&nowhere)?;
    Ok(nowhere)
}

/// Redirects standard input, output and error to /dev/null. For a child that must not use its parent's terminal.
pub(crate) fn let_go() -> io::Result<()> {
    nix::unistd::dup2_stderr(&release_input_and_output()?)?;
    Ok(())
}
