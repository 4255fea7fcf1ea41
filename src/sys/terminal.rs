//! The mode of the terminal, to save and restore it, and its size.

use std::io;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, tcgetpgrp};

/// A saved mode of the terminal on standard input.
#[derive(Clone, Debug)]
pub(crate) struct Mode {
    settings: Termios,
    /// The foreground process group at that time.
    owner: Option<Pid>,
}

impl Mode {
    /// Returns the current mode.
    ///
    /// # Errors
    /// Those of `tcgetattr(3)`: ENOTTY when standard input is not a terminal.
    pub(crate) fn of_input() -> io::Result<Self> {
        Ok(Self {
            settings: tcgetattr(io::stdin())?,
            owner: tcgetpgrp(io::stdin()).ok(),
        })
    }

    /// Returns whether a program has disabled line buffering, echo and the signals of keys. A shell keeps the signals.
    pub(crate) fn is_of_an_editor(&self) -> bool {
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        !self.settings.local_flags.intersects(cooked)
    }

    /// Returns whether the foreground process group is still that of this mode: no shell has taken the terminal back.
    pub(crate) fn has_its_owner(&self) -> bool {
        tcgetpgrp(io::stdin()).ok() == self.owner
    }

    /// Restores this mode.
    ///
    /// # Errors
    /// Those of `tcsetattr(3)`: EIO when the terminal is gone.
    pub(crate) fn restore(&self) -> io::Result<()> {
        Ok(tcsetattr(io::stdin(), SetArg::TCSANOW, &self.settings)?)
    }
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// The number of lines.
    pub(crate) rows: usize,
    /// The number of characters per line.
    pub(crate) columns: usize,
}

/// Returns the current size of the terminal on standard output, or else on standard error; 24 lines of 80 characters if
/// it is unknown.
pub(crate) fn size() -> Size {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let is_known = [libc::STDOUT_FILENO, libc::STDERR_FILENO]
        .into_iter()
        .any(|fd| {
            // SAFETY: the request writes one such structure to the pointer (ioctl_tty(2)).
            unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) == 0 }
        });
    let or = |said: u16, usual| {
        if is_known && said > 0 {
            usize::from(said)
        } else {
            usual
        }
    };
    Size {
        rows: or(size.ws_row, 24),
        columns: or(size.ws_col, 80),
    }
}
