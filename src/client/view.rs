//! All that is printed: messages to standard output, words about them to standard error.

use std::io::{self, BufWriter, Stdout, StdoutLock, Write};

use super::inbox::Received;
use super::link::Piece;
use crate::message::Trust;

/// Text from somebody else, so that it cannot drive the terminal: control characters and those that turn
/// the direction of writing are spelt out, and so are bytes that are no text.
pub(super) fn harmless(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\t' {
                text.push(c);
            } else if c.is_ascii_control() {
                text.push_str(&format!("\\x{:02x}", u32::from(c)));
            } else if c.is_control() || turns_direction(c) {
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

/// A message that came from another client, as it is shown: further lines of it are indented by one tab. A
/// sender who is only claimed has a `~`.
pub(super) fn letter(message: &Received) -> String {
    let claim = match message.trust {
        Trust::Open => "~",
        Trust::Local => "",
    };
    let mut lines = message.body.split(|&b| b == b'\n').map(harmless);
    let mut text = format!(
        "{claim}{}: {}",
        message.from,
        lines.next().unwrap_or_default()
    );
    for line in lines {
        text.push_str("\n\t");
        text.push_str(&line);
    }
    text
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

impl Printer {
    /// Prints a piece of a message that was read from the server.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn piece(&mut self, piece: &Piece<'_>) -> io::Result<()> {
        match piece {
            Piece::First { from, text } => {
                self.count += 1;
                writeln!(self.out, "{}: {}", harmless(from), harmless(text))
            }
            Piece::Further(text) => writeln!(self.out, "\t{}", harmless(text)),
        }
    }

    /// Prints a message that came from another client.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn letter(&mut self, message: &Received) -> io::Result<()> {
        self.count += 1;
        writeln!(self.out, "{}", letter(message))
    }

    /// Brings everything to where it is read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_drives_the_terminal() {
        let text = harmless("a\tb\u{1b}[2J\u{202e}\u{9b}ü".as_bytes());
        assert_eq!(text, "a\tb\\x1b[2J\\u{202e}\\u{9b}ü");
        assert_eq!(harmless(b"\xff\n"), "\\xff\\x0a");
    }

    #[test]
    fn a_claim_is_seen_to_be_one() {
        let mut message = Received {
            id: crate::message::MessageId([0; 16]),
            from: "bob".parse().expect("a name"),
            trust: Trust::Open,
            at: 0,
            body: b"one\nal: \x1b[2J".to_vec(),
        };
        assert_eq!(letter(&message), "~bob: one\n\tal: \\x1b[2J");
        message.trust = Trust::Local;
        assert!(letter(&message).starts_with("bob: one"));
    }
}
