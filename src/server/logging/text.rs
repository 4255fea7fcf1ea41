//! What the log to standard error and the log to syslog share.

use std::fmt;

use log::Level;

/// Returns the word for a level, with which each line begins.
pub(super) fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}

/// The log target for refusals and timeouts, all that is held against a client. In syslog it has its own facility.
pub(in crate::server) const AUTH: &str = "auth";

/// The log target for lines that a pause or the operator limits: they are never left out.
pub(in crate::server) const PACED: &str = "paced";

/// Like [`AUTH`], for lines that are limited like those of [`PACED`].
pub(in crate::server) const PACED_AUTH: &str = "auth.paced";

/// Writes text with its control characters escaped, so that a client cannot forge a log line.
pub(super) struct OneLine<'a>(pub(super) &'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The usual case.
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.0.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            if c.is_control() {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn nothing_forges_a_line() {
        let mut text = String::new();
        let written = OneLine(&mut text).write_str("a\nb\r\u{1b}[2J\u{9b}ü");
        assert_eq!(written, Ok(()));
        assert_eq!(text, "a\\nb\\r\\u{1b}[2J\\u{9b}ü");
    }
}
