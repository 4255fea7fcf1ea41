//! All that is printed: messages to standard output, words about them to standard error.

use std::io::{self, BufWriter, Stdout, StdoutLock, Write};

use super::link::{Piece, Sink};

/// Text from somebody else, so that it cannot drive the terminal: control characters and those that turn
/// the direction of writing are spelt out, and so are bytes that are no text.
pub(super) fn harmless(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c != '\t' && (c.is_control() || turns_direction(c)) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The characters that Unicode's bidirectional algorithm (UAX #9) takes for commands.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Says something to the person, on standard error. Where that is closed, nobody listens.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Tells of an error.
pub(super) fn complain(error: &dyn std::error::Error) {
    say(&format!(
        "dropline: {}",
        harmless(error.to_string().as_bytes())
    ));
}

/// Shows something of the menu, on the terminal.
///
/// # Errors
/// When the terminal is gone.
pub(super) fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints messages to standard output.
#[derive(Debug)]
pub(super) struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    count: usize,
}

impl Printer {
    /// A printer to `stdout`.
    pub(super) fn new(stdout: &Stdout) -> Self {
        Self {
            out: BufWriter::new(stdout.lock()),
            count: 0,
        }
    }

    /// How many messages were printed.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

impl Sink for Printer {
    fn take(&mut self, piece: &Piece<'_>) -> io::Result<()> {
        match piece {
            Piece::First { from, text } => {
                self.count += 1;
                writeln!(self.out, "{}: {}", harmless(from), harmless(text))
            }
            Piece::Further(text) => writeln!(self.out, "\t{}", harmless(text)),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_drives_the_terminal() {
        let text = harmless("a\tb\u{1b}[2J\u{202e}\u{9b}ü".as_bytes());
        assert_eq!(text, "a\tb\\u{1b}[2J\\u{202e}\\u{9b}ü");
        assert_eq!(harmless(b"\xff\n"), "\\xff\\n");
    }
}
