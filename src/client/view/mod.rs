//! Output of the client: data to standard output, notices and errors to standard error.

mod json;
mod pager;
mod printer;
mod rows;
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
use self::rows::Rows;
pub(super) use self::time::{moment, rfc3339};
use super::message_view::MessageView;
use crate::message::{Trust, is_deceptive};
use crate::sys::{stdio, terminal};

/// Makes untrusted text safe for the terminal: escapes control characters, characters that change the writing
/// direction, and bytes that are not UTF-8.
pub(super) fn sanitized(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\t' {
                text.push(c);
            } else if c.is_ascii_control() {
                text.push_str(&format!("\\x{:02x}", u32::from(c)));
            } else if is_deceptive(c) {
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

/// Prints a notice to standard error, sanitized. Ignores write errors.
pub(super) fn notice(text: &str) {
    let mut err = io::stderr();
    let rows = match err.is_terminal() {
        true => Rows::of_terminal(),
        false => Rows { columns: None },
    };
    let lines = text
        .split('\n')
        .map(|line| rows.lay(&sanitized(line.as_bytes()), false));
    let _ = writeln!(err, "{}", lines.collect::<Vec<_>>().join("\n"));
}

/// Prints text of the menu, wrapped to the width of the terminal.
///
/// # Errors
/// The terminal is gone.
pub(super) fn show_wrapped(text: &str) -> io::Result<()> {
    print_line(&wrapped(text, terminal::size().columns))
}

/// Breaks lines for standard output, if that is a terminal. Rows after the first one of a line are indented: the text may
/// contain sanitized text of others.
pub(super) fn in_rows(text: &str) -> String {
    let rows = Rows::of_output();
    let lines = text.split('\n').map(|line| rows.lay(line, false));
    lines.collect::<Vec<_>>().join("\n")
}

/// Wraps text between words into lines of at most `columns` columns. Longer words are not broken.
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

/// Prints an error to standard error.
pub(super) fn error(error: &dyn std::error::Error) {
    notice(&format!("dropline: {}", one_line(&error.to_string())));
}

/// Sanitizes text that must stay one line: escapes newlines and tabs as well.
pub(super) fn one_line(text: &str) -> String {
    sanitized(text.as_bytes()).replace('\t', "\\x09")
}

/// Checks that standard output is open.
///
/// # Errors
/// EBADF: the program was started with standard output closed.
pub(super) fn must_be_open() -> io::Result<()> {
    if stdio::output_is_closed() {
        return Err(io::Error::from_raw_os_error(nix::libc::EBADF));
    }
    Ok(())
}

/// Prints a line to standard output.
///
/// # Errors
/// The output cannot be written.
pub(super) fn print_line(text: &str) -> io::Result<()> {
    must_be_open()?;
    let mut out = io::stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes bytes to standard output without sanitizing them: output of this program, or of a command run for the user.
///
/// # Errors
/// The output cannot be written.
pub(super) fn write_bytes(bytes: &[u8]) -> io::Result<()> {
    must_be_open()?;
    let mut out = io::stdout();
    out.write_all(bytes)?;
    out.flush()
}

/// As [`write_bytes`], to standard error.
///
/// # Errors
/// The output cannot be written.
pub(super) fn write_error_bytes(bytes: &[u8]) -> io::Result<()> {
    io::stderr().write_all(bytes)
}

/// Formats a message for the terminal of the menu. Further lines and rows are indented; an unverified sender is marked
/// with `~`.
pub(super) fn format_message(message: &MessageView<'_>) -> String {
    format_in(Rows::of_terminal(), "", message)
}

/// As [`format_message`], for a message from another sender than the chat partner.
pub(super) fn format_message_of_other(message: &MessageView<'_>) -> String {
    let heading = Heading::new("[from ", message.from, message.trust, "]");
    heading.above(message.body, Rows::of_terminal())
}

/// As [`format_message`], in these rows, with `before` in front of the sender.
fn format_in(rows: Rows, before: &str, message: &MessageView<'_>) -> String {
    Heading::new(before, message.from, message.trust, ":").above(message.body, rows)
}

/// The beginning of the first line of a message.
struct Heading<'h> {
    before: &'h str,
    name: String,
    behind: &'h str,
}

impl<'h> Heading<'h> {
    fn new(before: &'h str, from: &[u8], trust: Option<Trust>, behind: &'h str) -> Self {
        Self {
            before,
            name: plain_sender(from, trust),
            behind,
        }
    }

    /// Formats the heading followed by a sanitized body.
    fn above(&self, body: &[u8], rows: Rows) -> String {
        let Self {
            before,
            name,
            behind,
        } = self;
        let mut lines = body.split(|&b| b == b'\n').map(sanitized);
        let first = lines.next().unwrap_or_default();
        let heading = format!("{before}{name}{behind}");
        let mut text = rows.lay(&format!("{heading} {first}"), false);
        // In a very narrow terminal, the heading itself is broken.
        if text.starts_with(&heading) {
            let name_ends = before.len() + name.len();
            text.replace_range(before.len()..name_ends, &distinct(name.clone()));
        }
        for line in lines {
            text.push('\n');
            text.push_str(&rows.lay(&line, true));
        }
        text
    }
}

/// When to use colours.
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

/// Bold text (SGR 1 of ECMA-48).
const BOLD: &str = "\x1b[1m";
/// Normal text (SGR 0).
const NORMAL: &str = "\x1b[0m";
static COLOURS: AtomicBool = AtomicBool::new(false);

/// Sets whether names of senders are highlighted.
pub(super) fn use_colours(colour: Colour) {
    let wanted = match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
            // See no-color.org and terminfo(5).
            set("NO_COLOR").is_none()
                && set("TERM").is_some_and(|term| term != "dumb")
                && io::stdout().is_terminal()
        }
    };
    COLOURS.store(wanted, Ordering::Relaxed);
}

/// Highlights the name of a sender, if colours are used.
fn distinct(name: String) -> String {
    match COLOURS.load(Ordering::Relaxed) {
        true => format!("{BOLD}{name}{NORMAL}"),
        false => name,
    }
}

/// Formats the name of a sender, with `~` unless it is verified, and highlights it.
pub(super) fn sender(from: &[u8], trust: Option<Trust>) -> String {
    distinct(plain_sender(from, trust))
}

fn plain_sender(from: &[u8], trust: Option<Trust>) -> String {
    let claim = match trust {
        Some(Trust::Local) => "",
        // The old dialects do not report the trust: the sender may be unverified.
        Some(Trust::Open) | None => "~",
    };
    format!("{claim}{}", sanitized(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_between_words() {
        assert_eq!(wrapped("a bc def", 4), "a bc\ndef");
        assert_eq!(wrapped("a bc def", 5), "a bc\ndef");
        assert_eq!(wrapped("abcdefgh ij\n k", 4), "abcdefgh\nij\n k");
        assert_eq!(wrapped("ああ ああ", 5), "ああ\nああ");
        assert_eq!(wrapped("a b ", 80), "a b ");
    }

    #[test]
    fn control_characters_are_escaped() {
        let text = sanitized("a\tb\u{1b}[2J\u{202e}\u{9b}ü".as_bytes());
        assert_eq!(text, "a\tb\\x1b[2J\\u{202e}\\u{9b}ü");
        assert_eq!(sanitized(b"\xff\n"), "\\xff\\x0a");
    }

    #[test]
    fn an_unverified_sender_is_marked() {
        let mut message = MessageView {
            seq: None,
            id: None,
            from: b"bob",
            trust: Some(Trust::Open),
            at: None,
            body: b"one\nal: \x1b[2J",
        };
        let rows = Rows { columns: None };
        let expected = "~bob: one\n\tal: \\x1b[2J";
        assert_eq!(format_in(rows, "", &message), expected);
        message.trust = None;
        assert_eq!(format_in(rows, "", &message), expected);
        message.trust = Some(Trust::Local);
        assert_eq!(
            format_in(rows, "1  ", &message),
            format!("1  {}", &expected[1..])
        );
        let columns = Some(40);
        message.body = b"one                                root: two";
        let broken = format_in(Rows { columns }, "", &message);
        assert_eq!(
            broken
                .lines()
                .filter(|line| !line.starts_with('\t'))
                .count(),
            1,
            "{broken}"
        );
    }
}
