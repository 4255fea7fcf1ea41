//! Ends the menu on SIGINT, SIGTERM and SIGHUP, even at a prompt.

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

/// Exits on the first SIGINT, SIGTERM or SIGHUP: releases the presence lease, restores the terminal, and exits with 128
/// plus the signal number, as a shell reports it.
///
/// # Errors
/// Standard input is not a terminal, or the signals cannot be trapped. They keep their default action then.
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
                // Ctrl-C in the pager is meant for the pager.
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
    // This fails if the terminal is gone; there is nothing to restore then.
    let _ = mode.restore();
    if is_editing {
        let _ = view::print_line(terminal_guard::PASTE_OFF);
    }
    process::exit_now(128 + signal)
}
