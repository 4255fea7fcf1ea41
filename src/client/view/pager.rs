//! What is longer than the screen.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use unicode_width::UnicodeWidthStr as _;

use crate::sys::terminal;

/// Shows text on the terminal: through $PAGER where it is longer than the screen.
///
/// # Errors
/// When the terminal is gone.
pub(in crate::client) fn page(text: &[u8]) -> io::Result<()> {
    let size = terminal::size();
    if !is_longer(&String::from_utf8_lossy(text), size.rows, size.columns) || !through_pager(text) {
        super::raw(text)?;
    }
    Ok(())
}

/// Whether `text` needs more lines than there are, with one for what comes after it.
fn is_longer(text: &str, rows: usize, columns: usize) -> bool {
    let needed = text
        .lines()
        .map(|line| line.width().div_ceil(columns.max(1)).max(1));
    needed.sum::<usize>() >= rows
}

/// Whether there was a pager, and it has shown the text.
fn through_pager(text: &[u8]) -> bool {
    let pager = std::env::var("PAGER").unwrap_or_default();
    let pager = if pager.trim().is_empty() {
        "less"
    } else {
        &pager
    };
    let Some((program, arguments)) = shlex::split(pager).and_then(|words| {
        let (program, arguments) = words.split_first()?;
        Some((program.clone(), arguments.to_vec()))
    }) else {
        return false;
    };
    let child = Command::new(program)
        .args(arguments)
        // It must not run anything, nor write files, because of what somebody has sent.
        .env("LESSSECURE", "1")
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return false };
    if let Some(mut input) = child.stdin.take() {
        // Whoever leaves the pager early has seen enough.
        let _ = input.write_all(&plain(text));
    }
    child.wait().is_ok_and(|end| end.success())
}

/// The text without our colours, which a pager shows as what they are. What others have sent has no escape
/// character any more.
fn plain(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let text = text.replace(super::BOLD, "").replace(super::NORMAL, "");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_the_screen() {
        assert!(!is_longer("a\nb\n", 3, 80));
        assert!(is_longer("a\nb\nc\n", 3, 80));
        // Wide characters take two columns.
        assert!(!is_longer("ああ\n\n", 3, 4));
        assert!(is_longer("ああ\n\n", 3, 3));
    }
}
