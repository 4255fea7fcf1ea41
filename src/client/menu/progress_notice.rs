//! Prints a notice during a slow start of the menu. A child process prints it: a thread would prevent later forks.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::view;
use crate::sys::helper::Helper;
use crate::sys::poll::{self, Want};
use crate::sys::process;

/// Delay before the notice is printed.
const SILENCE: Duration = Duration::from_millis(500);

/// Runs `work`, and prints `sentence` if that takes longer than `SILENCE`.
pub(super) fn while_doing<T>(sentence: &str, work: impl FnOnce() -> T) -> T {
    // If the fork fails, no notice is printed.
    let pair = UnixStream::pair();
    let child = pair.and_then(|(ours, theirs)| fork(sentence, ours, &theirs));
    let done = work();
    if let Ok((pid, ours)) = child {
        drop(ours);
        process::wait(pid);
    }
    done
}

/// Forks a child that prints `sentence` unless our end of the pair is closed in time.
fn fork(
    sentence: &str,
    ours: UnixStream,
    theirs: &UnixStream,
) -> io::Result<(process::Pid, UnixStream)> {
    if process::threads()? > 1 {
        return Err(io::Error::other("the menu has threads already"));
    }
    let notice = Helper::new().keeping([theirs.as_raw_fd()]);
    let pid = notice.fork(|| {
        let closed = poll::wait(&[(theirs.as_fd(), Want::Read)], Some(SILENCE));
        // If the terminal is gone, the menu detects it.
        closed.is_ok_and(|ready| ready.has(0)) || view::show_wrapped(sentence).is_ok()
    })?;
    Ok((pid, ours))
}
