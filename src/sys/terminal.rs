//! The terminal's mode, so that it can be given back as it was found.

use std::io;

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};

/// How the terminal that is standard input was set at some time.
#[derive(Clone, Debug)]
pub(crate) struct Mode(Termios);

impl Mode {
    /// The mode that it is in now.
    ///
    /// # Errors
    /// Those of `tcgetattr(3)`: ENOTTY.
    pub(crate) fn of_input() -> io::Result<Self> {
        Ok(Self(tcgetattr(io::stdin())?))
    }

    /// Sets the terminal as it was.
    ///
    /// # Errors
    /// Those of `tcsetattr(3)`: EIO when the terminal is gone.
    pub(crate) fn restore(&self) -> io::Result<()> {
        Ok(tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0)?)
    }
}
