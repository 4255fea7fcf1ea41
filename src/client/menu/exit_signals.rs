//! Leaving at SIGINT, SIGTERM and SIGHUP, while the menu may be at a prompt.

use std::io;
use std::sync::Arc;

use super::editor::Screen;
use super::presence::PresenceLease;
use super::terminal_guard;
use crate::client::{thread, view};
use crate::sys::poll::{self, Want};
use crate::sys::process;
use crate::sys::signal::{SIGHUP, SIGINT, SIGTERM, Trap};
use crate::sys::terminal::Mode;

/// Leaves on the first of SIGINT, SIGTERM and SIGHUP: the presence is given back, the terminal is as it was
/// found, and the exit status is that of a shell for such an end.
///
/// # Errors
/// When the signals cannot be trapped: then they end the menu as they do every program.
pub(super) fn handle(screen: Arc<Screen>, presence: Option<Arc<PresenceLease>>) -> io::Result<()> {
    let mode = Mode::of_input()?;
    let signals = [SIGINT, SIGTERM, SIGHUP];
    let trap = Trap::set(&signals)?;
    thread::spawn("signals", move || {
        loop {
            if poll::wait(&[(trap.fd(), Want::Read)], None).is_err() {
                return;
            }
            trap.drain();
            for signal in signals {
                // What is typed while the pager has the terminal is for the pager.
                if trap.came(signal) && !(signal == SIGINT && view::is_paging()) {
                    leave(signal, &screen, presence.as_deref(), &mode);
                }
            }
        }
    })?;
    Ok(())
}

fn leave(signal: i32, screen: &Screen, presence: Option<&PresenceLease>, mode: &Mode) -> ! {
    view::end_pager();
    let is_editing = screen.leave();
    if let Some(presence) = presence {
        presence.end();
    }
    // Where the terminal is gone, there is nothing to restore.
    let _ = mode.restore();
    if is_editing {
        let _ = view::print_line(terminal_guard::PASTE_OFF);
    }
    process::exit_now(128 + signal)
}
