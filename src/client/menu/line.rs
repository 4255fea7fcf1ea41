//! The line that is being typed, as the editor tells of it: what is in it, and where it is on the screen.
//!
//! The editor clears the rows that the line had when it was drawn last. Most terminals wrap text anew when they
//! get wider, and then the line has fewer rows: what is above it would be cleared as well, and that may be a
//! message. So the cursor is moved down by as many rows before.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustyline::hint::Hinter;
use rustyline::{Completer, Context, Helper, Highlighter, Validator};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::names::Names;
use crate::client::view;
use crate::sys::terminal;

/// What the editor asks, and tells.
#[derive(Completer, Helper, Highlighter, Validator)]
pub(super) struct Line {
    /// Completes names.
    #[rustyline(Completer)]
    pub(super) names: Names,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    text: String,
    /// How wide the prompt is, in columns.
    prompt: usize,
    /// How wide the terminal was; 0 while nothing was drawn.
    columns: usize,
}

impl Line {
    /// A line in which these names are completed.
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty line behind this prompt.
    pub(super) fn begin(&self, prompt: &str) {
        *self.seen() = Seen {
            prompt: prompt.width(),
            ..Seen::default()
        };
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.seen().text.is_empty()
    }
}

impl Hinter for Line {
    type Hint = String;

    /// Hints at nothing. The editor calls this before it draws.
    fn hint(&self, text: &str, at: usize, _: &Context<'_>) -> Option<String> {
        let columns = terminal::size().columns;
        let mut seen = self.seen();
        let before = std::mem::replace(&mut seen.columns, columns);
        if columns > before && before > 0 && seen.text == text {
            let typed = text.get(..at).unwrap_or(text);
            let row = |columns| row_behind(seen.prompt, typed, columns);
            let mut surplus = row(before).saturating_sub(row(columns));
            if surplus > 0 && typed.width() > typed.chars().count() {
                // Around wide characters terminals differ by a row: rather a row too many than a message lost.
                surplus += 1;
            }
            // Where the terminal is gone, the editor finds out.
            let _ = view::raw("\n".repeat(surplus).as_bytes());
        }
        text.clone_into(&mut seen.text);
        None
    }
}

/// In which row the cursor is behind a prompt of this width and `text`, counted from that of the prompt.
fn row_behind(prompt: usize, text: &str, columns: usize) -> usize {
    /// What the editor takes a tab for.
    const TAB: usize = 8;
    let (mut row, mut column) = (prompt / columns, prompt % columns);
    for c in text.chars() {
        let width = match c {
            '\n' => {
                (row, column) = (row + 1, 0);
                continue;
            }
            '\t' => TAB - column % TAB,
            c => c.width().unwrap_or_default(),
        };
        column += width;
        if column > columns {
            (row, column) = (row + 1, width);
        }
    }
    row + usize::from(column == columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_found() {
        assert_eq!(row_behind(2, "", 40), 0);
        assert_eq!(row_behind(2, &"x".repeat(37), 40), 0);
        assert_eq!(row_behind(2, &"x".repeat(38), 40), 1);
        assert_eq!(row_behind(2, "a\nb", 40), 1);
        // Wide characters do not fit into the last column.
        assert_eq!(row_behind(0, "あああ", 5), 1);
        assert_eq!(row_behind(2, "\t\t", 15), 1);
    }
}
