//! Prompts for a message: one line, or several lines that end with a single `.`.

use std::io;

use super::editor::{Prompt, Typed};
use crate::client::view;

/// Prompts for a message of one line; an empty line starts one of several lines. Returns `None` if it is discarded.
///
/// # Errors
/// The terminal is gone.
pub(super) fn message(prompt: &mut Prompt) -> io::Result<Option<String>> {
    view::show_wrapped("Type one line, or press Enter to type several.")?;
    match prompt.text("Message: ")? {
        Typed::Text(text) if text.trim_end_matches('\n').is_empty() => lines(prompt),
        Typed::Text(text) => Ok(Some(text.trim_end_matches('\n').to_owned())),
        Typed::Interrupt | Typed::End => thrown_away(prompt, MultilineDraft::default()),
    }
}

/// Prompts for a message of several lines. Returns `None` if it is discarded.
///
/// # Errors
/// The terminal is gone.
pub(super) fn lines(prompt: &mut Prompt) -> io::Result<Option<String>> {
    view::show_wrapped(
        "Several lines: a line with a single . ends the message, Ctrl-C discards it.",
    )?;
    let mut draft = MultilineDraft::default();
    loop {
        match prompt.text("| ")? {
            Typed::Text(text) => {
                if let Some(rest) = draft.add(&text) {
                    prompt.put_back(rest);
                    return finished(&draft);
                }
            }
            // As in mail(1), end of file ends the message.
            Typed::End => return finished(&draft),
            Typed::Interrupt => return thrown_away(prompt, draft),
        }
    }
}

fn finished(draft: &MultilineDraft) -> io::Result<Option<String>> {
    let text = draft.lines.join("\n");
    if text.is_empty() {
        view::show_wrapped("The message is empty; it was not sent.")?;
        return Ok(None);
    }
    Ok(Some(text))
}

/// Discards a draft, and adds it to the history of the prompt.
fn thrown_away(prompt: &mut Prompt, mut draft: MultilineDraft) -> io::Result<Option<String>> {
    prompt.forget_ahead();
    let last = prompt.last_text();
    if !last.is_empty() {
        draft.lines.push(last);
    }
    let text = draft.lines.join("\n");
    if text.trim().is_empty() {
        view::show_wrapped("Message discarded.")?;
        return Ok(None);
    }
    prompt.remember(&text);
    view::show_wrapped("Message discarded; press the up arrow to get it back.")?;
    Ok(None)
}

/// A message of several lines while it is typed.
#[derive(Debug, Default)]
struct MultilineDraft {
    lines: Vec<String>,
}

impl MultilineDraft {
    /// Adds typed or pasted text. At the line that ends the message, returns the lines after it.
    fn add(&mut self, text: &str) -> Option<Vec<String>> {
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        for line in lines.by_ref() {
            if line == "." {
                return Some(lines.map(str::to_owned).collect());
            }
            self.lines.push(line.to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_dot_ends_a_message_and_returns_later_lines() {
        let mut draft = MultilineDraft::default();
        assert_eq!(draft.add("one"), None);
        assert_eq!(draft.add(""), None);
        assert_eq!(draft.add("two\n..\n"), None);
        assert_eq!(
            draft.add("three\n.\n1\nbob"),
            Some(vec!["1".into(), "bob".into()])
        );
        assert_eq!(draft.lines, ["one", "", "two", "..", "three"]);
        assert_eq!(MultilineDraft::default().add("."), Some(vec![]));
    }
}
