//! Breaks text of others into rows for a terminal.
//!
//! A terminal itself wraps a line that is too long, and continues it in the first column. Text that is padded to the
//! width could so look like a line of its own, with a sender of its choice. Rows after the first one are indented
//! instead, as further lines of a message are.

use unicode_width::UnicodeWidthChar as _;

use crate::sys::terminal;

/// The distance of tab stops, in columns.
const TAB: usize = 8;
/// The least width, in columns, for which a tab is the indent.
const WIDE: usize = 3 * TAB;

/// The rows of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// Their width. `None` if the output is not a terminal, so that lines are not broken.
    pub(super) columns: Option<usize>,
}

impl Rows {
    /// Returns those of standard output.
    pub(super) fn of_output() -> Self {
        use std::io::IsTerminal as _;
        match std::io::stdout().is_terminal() {
            true => Self::of_terminal(),
            false => Self { columns: None },
        }
    }

    /// Returns those of the terminal, whether or not standard output is one.
    pub(super) fn of_terminal() -> Self {
        Self {
            columns: Some(terminal::size().columns),
        }
    }

    /// Breaks sanitized text, which has no newline, into rows. Breaks between words where it can. `indent` tells
    /// whether the first row is indented as well.
    pub(super) fn lay(self, text: &str, is_indented: bool) -> String {
        let margin = match self.columns {
            Some(columns) if columns < WIDE => " ",
            _ => "\t",
        };
        let first = if is_indented { margin } else { "" };
        let Some(columns) = self.columns else {
            return format!("{first}{text}");
        };
        let begin = if margin == "\t" { TAB } else { 1 };
        let mut rows: Vec<&str> = Vec::new();
        let mut column = if is_indented { begin } else { 0 };
        // The byte at which the row begins, and that after its last space.
        let (mut start, mut gap) = (0, None);
        for (index, c) in text.char_indices() {
            let end = behind(c, column);
            if end > columns && index > start {
                // What moves to the next row with `c`, and the column behind it.
                let moved = |next: usize| {
                    let text = &text[next..index + c.len_utf8()];
                    text.chars().fold(begin, |at, c| behind(c, at))
                };
                let next = gap.take().filter(|gap| moved(*gap) <= columns);
                let next = next.unwrap_or(index);
                rows.push(&text[start..next]);
                start = next;
                column = moved(next);
            } else {
                column = end;
            }
            if c == ' ' {
                gap = Some(index + 1);
            }
        }
        rows.push(&text[start..]);
        first.to_owned() + &rows.join(&format!("\n{margin}"))
    }
}

/// Returns the column after `c`, which begins at `column`. Where terminals differ, returns the largest: each gives some
/// characters without a width of their own a column, for instance marks that it does not combine, and two in the blocks
/// whose characters are wide, also where a block has a gap or a mark. A pager shows the number of a character that is no
/// character of Unicode, as less(1) does: `<U+10FFFD>`.
fn behind(c: char, column: usize) -> usize {
    let least = match c {
        '\t' => return (column / TAB + 1) * TAB,
        c if is_private_or_none(c) => "<U+10FFFD>".len(),
        // From CJK Radicals to Yi; Vertical Forms to Small Form Variants; Fullwidth Forms; Ideographic Symbols to
        // Nushu; pictographs.
        '\u{2e80}'..='\u{a4cf}'
        | '\u{fe10}'..='\u{fe1f}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{16fe0}'..='\u{1b2ff}'
        | '\u{1f000}'..='\u{1ffff}' => 2,
        _ => 1,
    };
    column + c.width_cjk().unwrap_or_default().max(least)
}

/// Returns whether `c` is for private use or is a noncharacter.
fn is_private_or_none(c: char) -> bool {
    let is_none = u32::from(c) & 0xfffe == 0xfffe;
    is_none || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{f0000}'..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;

    fn lay(text: &str, columns: usize) -> String {
        let columns = Some(columns);
        Rows { columns }.lay(text, false)
    }

    #[test]
    fn only_the_first_row_begins_in_the_first_column() {
        let padded = format!("al: hi{}root: obey", " ".repeat(34));
        assert_eq!(
            lay(&padded, 40),
            format!("al: hi{}\n\troot: obey", " ".repeat(34))
        );
        let hard = format!("al: {}root: obey", "\u{a0}".repeat(36));
        let expected = format!("al: {}\n\troot: obey", "\u{a0}".repeat(36));
        assert_eq!(lay(&hard, 40), expected);
        assert_eq!(
            lay(&"x".repeat(50), 40),
            format!("{}\n\t{}", "x".repeat(40), "x".repeat(10))
        );
        assert_eq!(lay("one two", 5), "one \n two");
        // Terminals differ in the width of these.
        assert_eq!(
            lay(&"\u{25cb}".repeat(16), 24),
            format!("{0}\n\t{1}", "\u{25cb}".repeat(12), "\u{25cb}".repeat(4))
        );
        // Some terminals advance at these.
        for odd in ['\u{ad}', '\u{9be}', '\u{8e2}', '\u{fe0f}'] {
            let padded = format!("al: {}root: obey", odd.to_string().repeat(36));
            assert!(!lay(&padded, 40).contains("\nroot"), "{odd:?}");
            assert!(lay(&padded, 40).contains("\n\troot"), "{odd:?}");
        }
        // Some advance by two at marks and gaps of the wide blocks.
        for odd in [
            '\u{2e9a}',
            '\u{302a}',
            '\u{302e}',
            '\u{3040}',
            '\u{3099}',
            '\u{a4c7}',
            '\u{fe53}',
            '\u{ff00}',
            '\u{16fe4}',
            '\u{16ff0}',
            '\u{1f1e6}',
        ] {
            let padded = format!("al: {}root: obey", odd.to_string().repeat(18));
            assert!(lay(&padded, 40).contains("\n\troot"), "{odd:?}");
        }
        // A pager shows these as `<U+E000>`.
        for odd in [
            '\u{e000}',
            '\u{f8ff}',
            '\u{fdd0}',
            '\u{1fffe}',
            '\u{10fffd}',
        ] {
            let padded = format!("al: {}root: obey", odd.to_string().repeat(36));
            let shown = lay(&padded, 40).replace(odd, "<U+E000>");
            let fits = |row: &str| row.replace('\t', "        ").len() <= 40;
            assert!(shown.split('\n').all(fits), "{shown}");
        }
        assert_eq!(lay("a\tb", 80), "a\tb");
        let columns = None;
        assert_eq!(Rows { columns }.lay(&padded, true), format!("\t{padded}"));
    }

    proptest! {
        #[test]
        fn each_row_fits_and_no_text_is_lost(text in "[a-z \t\u{3042}\u{25cb}\u{a0}]{0,200}", columns in 16_usize..90) {
            let laid = lay(&text, columns);
            let margin = if columns < WIDE { "\n " } else { "\n\t" };
            assert_eq!(laid.replace(margin, ""), text);
            for row in laid.split('\n') {
                // A tab at the right edge does not move the cursor to the next row.
                let end = row.trim_end_matches('\t').chars().fold(0, |at, c| behind(c, at));
                assert!(end <= columns, "{row:?}");
            }
        }
    }
}
