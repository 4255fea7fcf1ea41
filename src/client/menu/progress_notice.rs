//! A notice that something takes long, before there is a menu that could print it. It is printed by a child, since a thread
//! would forbid to fork the listeners later.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::view;
use crate::sys::helper::Helper;
use crate::sys::poll::{self, Want};
use crate::sys::process;

/// How long nothing is said.
const SILENCE: Duration = Duration::from_millis(500);

/// Does something, and says `sentence` if that takes longer than a moment.
pub(super) fn while_doing<T>(sentence: &str, work: impl FnOnce() -> T) -> T {
    // Without a child, nothing is said.
    let pair = UnixStream::pair();
    let child = pair.and_then(|(ours, theirs)| fork(sentence, ours, &theirs));
    let done = work();
    if let Ok((pid, ours)) = child {
        drop(ours);
        process::wait(pid);
    }
    done
}

/// A child that speaks when nobody closes our end of the pair.
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
        // Where the terminal is gone, the menu finds out.
        closed.is_ok_and(|ready| ready.has(0)) || view::show_wrapped(sentence).is_ok()
    })?;
    Ok((pid, ours))
}
