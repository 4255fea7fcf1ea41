//! The log, on standard error: one line an event, written with one call.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::sys::file;
use crate::sys::process::Pid;

struct StandardError;

/// Standard error, opened once more so that writing to it never blocks. Where that cannot be had (it is a
/// socket), the one that we were given is used.
static OWN: OnceLock<File> = OnceLock::new();

impl Log for StandardError {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info | Level::Debug | Level::Trace => "",
        };
        // The pid is asked for each time: children log, too.
        let now = jiff::Timestamp::now();
        let text = record.args().to_string();
        let line = format!(
            "{now:.3} droplined[{}]: {level}{}\n",
            Pid::own(),
            OneLine(&text)
        );
        // Where standard error is closed, or nobody reads it, there is nobody to tell: the service goes on.
        let _ = match OWN.get() {
            Some(mut own) => own.write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }

    fn flush(&self) {}
}

/// Text with its control characters made visible, so that nothing a client says forges a log line.
struct OneLine<'a>(&'a str);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() {
                write!(f, "{}", c.escape_default())
            } else {
                write!(f, "{c}")
            }
        })
    }
}

/// Logs to standard error from now on; with `verbose`, more.
pub(super) fn to_standard_error(verbose: bool) {
    if let Ok(own) = file::standard_error_without_blocking() {
        // It is set already when this is called twice.
        let _ = OWN.set(own);
    }
    // It fails when there is a logger already, which then is this one.
    let _ = log::set_logger(&StandardError);
    log::set_max_level(if verbose {
        LevelFilter::Debug
    } else {
        LevelFilter::Info
    });
}

/// The descriptor that the log is written to, for a child to keep.
pub(super) fn descriptor() -> RawFd {
    OWN.get()
        .map_or(nix::libc::STDERR_FILENO, |own| own.as_raw_fd())
}

/// Keeps a complaint that could come a thousand times a second to one line in ten seconds.
#[derive(Debug, Default)]
pub(super) struct AtMostOften {
    last: Option<Instant>,
    unsaid: u64,
}

impl AtMostOften {
    const SPAN: Duration = Duration::from_secs(10);

    /// Logs `text` as a warning, unless one was logged in the last ten seconds; then it is counted.
    pub(super) fn warn(&mut self, text: std::fmt::Arguments<'_>) {
        if self.last.is_some_and(|last| last.elapsed() < Self::SPAN) {
            self.unsaid += 1;
            return;
        }
        match self.unsaid {
            0 => log::warn!("{text}"),
            n => log::warn!("{text} (and {n} times since the last such line)"),
        }
        *self = Self {
            last: Some(Instant::now()),
            unsaid: 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_forges_a_line() {
        let text = OneLine("a\nb\r\u{1b}[2J\u{9b}ü").to_string();
        assert_eq!(text, "a\\nb\\r\\u{1b}[2J\\u{9b}ü");
    }
}
