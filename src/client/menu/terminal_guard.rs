//! Restores the terminal when the menu is killed and cannot do it: a child that does nothing else. A pager that
//! has the terminal then is ended, in the way in which the menu ends it.

use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::view;
use crate::sys::helper::Helper;
use crate::sys::process::{self, PidFd};
use crate::sys::signal::{SIGKILL, SIGTERM};
use crate::sys::terminal::Mode;

/// What turns off the marks around pasted lines, which the editor turned on (bracketed paste of xterm).
pub(super) const PASTE_OFF: &str = "\x1b[?2004l";

/// The menu's side of the guard, which sees it vanish with the menu.
#[derive(Debug)]
pub(super) struct TerminalGuard {
    _menu: UnixStream,
}

impl TerminalGuard {
    /// Forks the guard of the terminal, which is to be as it is now.
    ///
    /// # Errors
    /// When the calling process has threads, there is no terminal, or there can be no child.
    pub(super) fn fork() -> io::Result<Self> {
        if process::threads()? > 1 {
            return Err(io::Error::other("the menu has threads already"));
        }
        let mode = Mode::of_input()?;
        let (ours, theirs) = UnixStream::pair()?;
        // What ends, or stops, the menu does not end it; and what it does to a terminal that has passed on to a shell does
        // not stop it.
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

/// Waits for the menu's end. A terminal that is still in the editor's hands after that, or in those of a pager, is
/// given back; another one is none of ours.
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
            // Where that does not work, there is nobody to tell.
            let _ = mode.restore();
        }
        return;
    }
    if Mode::of_input().is_ok_and(|now| now.is_of_an_editor()) && mode.restore().is_ok() {
        let _ = view::write_bytes(PASTE_OFF.as_bytes());
        let _ = view::write_bytes(b"\r\n");
    }
}

/// Ends a pager, which may take some time to give the screen back.
fn end(pager: &PidFd) {
    if pager.signal(SIGTERM).is_ok() && !pager.ends_within(view::LAST_PAGE) {
        let _ = pager.signal(SIGKILL);
        pager.ends_within(view::LAST_PAGE);
    }
}
