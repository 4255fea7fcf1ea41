//! Leaving when somebody else wants it: signals, while the menu may be at a prompt.

use std::io;
use std::sync::Arc;

use super::presence::Presence;
use super::screen::Screen;
use crate::client::view;
use crate::sys::poll::{self, Want};
use crate::sys::process;
use crate::sys::signal::{SIGHUP, SIGINT, SIGTERM, Trap};
use crate::sys::terminal::Mode;

/// What a terminal is told when lines that are pasted need not be marked any more.
pub(super) const PASTE_OFF: &str = "\x1b[?2004l";

/// Leaves on the first of SIGINT, SIGTERM and SIGHUP: the presence is given back, the terminal is as it was
/// found, and the exit status is that of a shell for such an end.
///
/// # Errors
/// When the signals cannot be trapped: then they end the menu as they do every program.
pub(super) fn on_signals(screen: Arc<Screen>, presence: Option<Arc<Presence>>) -> io::Result<()> {
    let mode = Mode::of_input()?;
    let signals = [SIGINT, SIGTERM, SIGHUP];
    let trap = Trap::set(&signals)?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
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

fn leave(signal: i32, screen: &Screen, presence: Option<&Presence>, mode: &Mode) -> ! {
    view::end_pager();
    let is_editing = screen.leave();
    if let Some(presence) = presence {
        presence.end();
    }
    // Where the terminal is gone, there is nothing to restore.
    let _ = mode.restore();
    if is_editing {
        let _ = view::show(PASTE_OFF);
    }
    process::exit_now(128 + signal)
}
