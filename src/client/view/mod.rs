//! All that is printed: messages to standard output, words about them to standard error.

mod json;
mod pager;
mod printer;
mod time;

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

pub(super) use self::json::{Body, object};
pub(super) use self::pager::{
    LAST_PAGE, end as end_pager, is_open as is_paging, page, tell as report_pagers_to,
};
pub(super) use self::printer::{Form, Printer};
pub(super) use self::time::{moment, rfc3339};
use super::message_view::MessageView;
use crate::message::Trust;
use crate::sys::{stdio, terminal};

/// Text from somebody else, so that it cannot drive the terminal: control characters and those that turn
/// the direction of writing are spelt out, and so are bytes that are no text.
pub(super) fn sanitized(bytes: &[u8]) -> String {
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
pub(super) fn notice(text: &str) {
    let mut err = io::stderr();
    let _ = if err.is_terminal() {
        writeln!(err, "{}", wrapped(text, terminal::size().columns))
    } else {
        writeln!(err, "{text}")
    };
}

/// Shows a sentence of the menu, on the terminal.
///
/// # Errors
/// When the terminal is gone.
pub(super) fn show_wrapped(text: &str) -> io::Result<()> {
    print_line(&wrapped(text, terminal::size().columns))
}

/// The text in lines that are no longer than this, if its words are not.
pub(super) fn wrapped(text: &str, columns: usize) -> String {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let (mut at, mut width) = (0, 0);
        let mut gap = None;
        for (index, c) in line.char_indices() {
            if c == ' ' && index > at {
                gap = Some(index);
            }
            width += c.width().unwrap_or_default();
            if width > columns
                && let Some(gap) = gap.take()
            {
                lines.push(&line[at..gap]);
                at = gap + 1;
                width = line[at..index + c.len_utf8()].width();
            }
        }
        lines.push(&line[at..]);
    }
    lines.join("\n")
}

/// Tells of an error.
pub(super) fn error(error: &dyn std::error::Error) {
    notice(&format!(
        "dropline: {}",
        sanitized(error.to_string().as_bytes())
    ));
}

/// Makes sure that what is printed goes somewhere.
///
/// # Errors
/// When we were started without a standard output.
pub(super) fn must_be_open() -> io::Result<()> {
    if stdio::output_is_closed() {
        return Err(io::Error::from_raw_os_error(nix::libc::EBADF));
    }
    Ok(())
}

/// Prints a line on standard output: data, or a part of the menu.
///
/// # Errors
/// When it cannot be written.
pub(super) fn print_line(text: &str) -> io::Result<()> {
    must_be_open()?;
    let mut out = io::stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Puts bytes on standard output as they are: what this program has made itself, or has
/// run for somebody who sees the same without it.
///
/// # Errors
/// When they cannot be written.
pub(super) fn write_bytes(bytes: &[u8]) -> io::Result<()> {
    must_be_open()?;
    let mut out = io::stdout();
    out.write_all(bytes)?;
    out.flush()
}

/// The same for standard error.
///
/// # Errors
/// When they cannot be written.
pub(super) fn write_error_bytes(bytes: &[u8]) -> io::Result<()> {
    io::stderr().write_all(bytes)
}

/// A message as it is shown: further lines of it are indented by one tab. A sender who is only claimed has a
/// `~`.
pub(super) fn format_message(message: &MessageView<'_>) -> String {
    under(
        &format!("{}:", sender(message.from, message.trust)),
        message.body,
    )
}

/// A message from somebody else than the one with whom one talks.
pub(super) fn format_message_of_other(message: &MessageView<'_>) -> String {
    under(
        &format!("[from {}]", sender(message.from, message.trust)),
        message.body,
    )
}

/// A text behind its heading.
fn under(heading: &str, body: &[u8]) -> String {
    let mut lines = body.split(|&b| b == b'\n').map(sanitized);
    let mut text = format!("{heading} {}", lines.next().unwrap_or_default());
    for line in lines {
        text.push_str("\n\t");
        text.push_str(&line);
    }
    text
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

/// What follows stands out (ECMA-48, SGR).
const BOLD: &str = "\x1b[1m";
/// What follows does not.
const NORMAL: &str = "\x1b[0m";
static COLOURS: AtomicBool = AtomicBool::new(false);

/// Whether senders stand out from now on.
pub(super) fn use_colours(colour: Colour) {
    let wanted = match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
            // no-color.org; terminfo(5).
            set("NO_COLOR").is_none()
                && set("TERM").is_some_and(|term| term != "dumb")
                && io::stdout().is_terminal()
        }
    };
    COLOURS.store(wanted, Ordering::Relaxed);
}

/// The name of a sender, so that it stands out where there are colours.
fn distinct(name: String) -> String {
    match COLOURS.load(Ordering::Relaxed) {
        true => format!("{BOLD}{name}{NORMAL}"),
        false => name,
    }
}

/// A sender's name, marked where it is a claim. Where nobody says which, nothing is marked.
pub(super) fn sender(from: &[u8], trust: Option<Trust>) -> String {
    let claim = match trust {
        Some(Trust::Open) => "~",
        Some(Trust::Local) | None => "",
    };
    distinct(format!("{claim}{}", sanitized(from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words() {
        assert_eq!(wrapped("a bc def", 4), "a bc\ndef");
        assert_eq!(wrapped("a bc def", 5), "a bc\ndef");
        assert_eq!(wrapped("abcdefgh ij\n k", 4), "abcdefgh\nij\n k");
        assert_eq!(wrapped("ああ ああ", 5), "ああ\nああ");
        assert_eq!(wrapped("a b ", 80), "a b ");
    }

    #[test]
    fn nothing_drives_the_terminal() {
        let text = sanitized("a\tb\u{1b}[2J\u{202e}\u{9b}ü".as_bytes());
        assert_eq!(text, "a\tb\\x1b[2J\\u{202e}\\u{9b}ü");
        assert_eq!(sanitized(b"\xff\n"), "\\xff\\x0a");
    }

    #[test]
    fn a_claim_is_seen_to_be_one() {
        let mut message = MessageView {
            seq: None,
            id: None,
            from: b"bob",
            trust: Some(Trust::Open),
            at: None,
            body: b"one\nal: \x1b[2J",
        };
        assert_eq!(format_message(&message), "~bob: one\n\tal: \\x1b[2J");
        for trust in [Some(Trust::Local), None] {
            message.trust = trust;
            assert!(format_message(&message).starts_with("bob: one"));
        }
    }
}
