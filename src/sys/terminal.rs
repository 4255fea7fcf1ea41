//! The terminal's mode, so that it can be given back as it was found.

use std::io;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Pid, tcgetpgrp};

/// How the terminal that is standard input was set at some time.
#[derive(Clone, Debug)]
pub(crate) struct Mode {
    settings: Termios,
    /// Whose terminal it was.
    owner: Option<Pid>,
}

impl Mode {
    /// The mode that it is in now.
    ///
    /// # Errors
    /// Those of `tcgetattr(3)`: ENOTTY.
    pub(crate) fn of_input() -> io::Result<Self> {
        Ok(Self {
            settings: tcgetattr(io::stdin())?,
            owner: tcgetpgrp(io::stdin()).ok(),
        })
    }

    /// Whether keys go to a program as they are, and not even Ctrl-C is a signal. Shells leave it one.
    pub(crate) fn is_of_an_editor(&self) -> bool {
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        !self.settings.local_flags.intersects(cooked)
    }

    /// Whether the terminal belongs to the same group of processes as it did at the time of this mode: no shell has
    /// taken it back.
    pub(crate) fn has_its_owner(&self) -> bool {
        tcgetpgrp(io::stdin()).ok() == self.owner
    }

    /// Sets the terminal as it was.
    ///
    /// # Errors
    /// Those of `tcsetattr(3)`: EIO when the terminal is gone.
    pub(crate) fn restore(&self) -> io::Result<()> {
        Ok(tcsetattr(io::stdin(), SetArg::TCSANOW, &self.settings)?)
    }
}

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// How many lines it has.
    pub(crate) rows: usize,
    /// How many characters a line has.
    pub(crate) columns: usize,
}

/// The size of the terminal that is standard output now; 24 lines of 80 characters where it does not say.
pub(crate) fn size() -> Size {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: this request writes one such structure to the pointer (ioctl_tty(2)).
    let done = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    let or = |said: u16, usual| {
        if done == 0 && said > 0 {
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
