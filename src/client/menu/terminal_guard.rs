//! The terminal guard: a child process that restores the terminal and ends the pager if the menu is killed.

use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::view;
use crate::sys::helper::Helper;
use crate::sys::process::{self, PidFd};
use crate::sys::signal::{SIGKILL, SIGTERM};
use crate::sys::terminal::Mode;

/// Escape sequence that turns off xterm's bracketed paste mode, which the editor turns on.
pub(super) const PASTE_OFF: &str = "\x1b[?2004l";

/// The menu's end of the guard's socket. The guard reads end of file when the menu ends.
#[derive(Debug)]
pub(super) struct TerminalGuard {
    _menu: UnixStream,
}

impl TerminalGuard {
    /// Forks the guard, which restores the current mode of the terminal.
    ///
    /// # Errors
    /// The calling process has threads, standard input is not a terminal, or the fork fails.
    pub(super) fn fork() -> io::Result<Self> {
        if process::threads()? > 1 {
            return Err(io::Error::other("the menu has threads already"));
        }
        let mode = Mode::of_input()?;
        let (ours, theirs) = UnixStream::pair()?;
        // A signal to the menu's process group must not reach the guard, so it leaves the group. SIGTTOU stays blocked
        // in it, so that it can set a terminal that a shell has taken back (see tcsetattr(3)).
        let guard = Helper::new()
            .keeping([theirs.as_raw_fd()])
            .outliving_its_parent();
        guard.fork(|| {
            let _ = process::leave_group();
            watch_menu(theirs, &mode);
            true
        })?;
        view::report_pagers_to(ours.try_clone()?);
        Ok(Self { _menu: ours })
    }
}

/// Waits for the end of the menu. Ends a pager that still runs, and restores the terminal unless a shell has taken it
/// back. Without a pager, restores it only if it is still in the editor's mode.
fn watch_menu(mut menu: UnixStream, mode: &Mode) {
    let mut pager = None;
    let mut number = [0; 4];
    while menu.read_exact(&mut number).is_ok() {
        pager = match u32::from_ne_bytes(number) {
            0 => None,
            number => PidFd::of(number).ok(),
        };
    }
    if let Some(pager) = pager.filter(|pager| !pager.ends_within(Duration::ZERO)) {
        end(&pager);
        if mode.has_its_owner() {
            // No process is left to which a failure could be reported.
            let _ = mode.restore();
        }
        return;
    }
    if Mode::of_input().is_ok_and(|now| now.is_of_an_editor()) && mode.restore().is_ok() {
        let _ = view::write_bytes(PASTE_OFF.as_bytes());
        let _ = view::write_bytes(b"\r\n");
    }
}

/// Ends a pager with SIGTERM, or with SIGKILL if it does not restore the screen in time.
fn end(pager: &PidFd) {
    if pager.signal(SIGTERM).is_ok() && !pager.ends_within(view::LAST_PAGE) {
        let _ = pager.signal(SIGKILL);
        pager.ends_within(view::LAST_PAGE);
    }
}
