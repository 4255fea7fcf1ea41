//! Lays out text in the rows of a terminal as the editor does, with a newline after each full row.
//!
//! A terminal that gets wider joins rows that it has wrapped itself. The line then has fewer rows than the editor has
//! counted, and a redraw would clear output above it. Rows that end with a newline are never joined.

use rustyline::GraphemeClusterMode;
use unicode_segmentation::UnicodeSegmentation as _;

/// The editor's tab width, in columns.
const TAB: usize = 8;

/// A position on the terminal, relative to the start of the prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) row: usize,
    /// The column; after the last one if the row is full.
    pub(super) column: usize,
}

/// The geometry of a terminal's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Their width, in columns.
    pub(super) columns: usize,
    /// How the editor measures the width of a grapheme cluster.
    pub(super) mode: GraphemeClusterMode,
}

impl Rows {
    /// Lays out `text` from `from` on. Returns the text to print, without control characters, and the end.
    pub(super) fn lay(self, text: &str, from: Position) -> (String, Position) {
        let mut laid = String::with_capacity(text.len() + text.len() / self.columns.max(1));
        let mut place = from;
        for unit in text.graphemes(true) {
            if unit == "\n" || unit == "\r\n" {
                laid.push('\n');
                place = Position {
                    row: place.row + 1,
                    column: 0,
                };
                continue;
            }
            let is_tab = unit == "\t";
            let width = match is_tab {
                true => TAB - place.column % TAB,
                false => usize::from(self.mode.width(unit)),
            };
            place.column += width;
            if place.column > self.columns {
                laid.push('\n');
                place = Position {
                    row: place.row + 1,
                    column: width,
                };
            }
            match is_tab {
                true => laid.extend(std::iter::repeat_n(' ', width)),
                false => laid.extend(unit.chars().filter(|c| !c.is_control())),
            }
        }
        (laid, place)
    }

    /// Returns the position of the cursor after a prompt and a text. After a full row, it is in the next one.
    pub(super) fn cursor(self, prompt: &str, text: &str) -> Position {
        let (_, behind) = self.lay(prompt, Position::default());
        let (_, place) = self.lay(text, behind);
        match place.column >= self.columns {
            true => Position {
                row: place.row + 1,
                column: 0,
            },
            false => place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(columns: usize) -> Rows {
        Rows {
            columns,
            mode: GraphemeClusterMode::WcWidth,
        }
    }

    #[test]
    fn the_cursor_is_found() {
        let row = |prompt, text: &str, columns| rows(columns).cursor(prompt, text).row;
        assert_eq!(row("> ", "", 40), 0);
        assert_eq!(row("> ", &"x".repeat(37), 40), 0);
        assert_eq!(row("> ", &"x".repeat(38), 40), 1);
        assert_eq!(row("> ", "a\nb", 40), 1);
        // Wide characters do not fit into the last column.
        assert_eq!(row("", "あああ", 5), 1);
        assert_eq!(row("> ", "\t\t", 15), 1);
    }

    #[test]
    fn each_row_but_the_last_has_an_end() {
        let lay = |text: &str, columns| rows(columns).lay(text, Position { row: 0, column: 2 }).0;
        assert_eq!(lay("abc", 5), "abc");
        assert_eq!(lay("abcd", 5), "abc\nd");
        assert_eq!(lay("ああ", 5), "あ\nあ");
        assert_eq!(lay("a\u{301}bcd", 5), "a\u{301}bc\nd");
        assert_eq!(lay("a\tb", 9), "a     b");
        assert_eq!(lay("ab\x1b[31m\ncd", 20), "ab[31m\ncd");
    }

    #[test]
    fn narrower_terminals_have_no_fewer_rows() {
        let text = "ab 日本語 x😀y\nlong long long 漢字 line";
        for columns in 3..60 {
            let place = |columns| rows(columns).cursor("> ", text);
            assert!(place(columns).row >= place(columns + 1).row, "{columns}");
        }
    }
}
