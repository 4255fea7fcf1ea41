//! Writing a message: one line, or several that end with a line of a single `.`.

use std::io;

use super::editor::{Prompt, Typed};
use crate::client::view;

/// Asks for a message; `None` when it was thrown away. One line is a message; an empty one begins a message
/// of several.
///
/// # Errors
/// When the terminal is gone.
pub(super) fn message(prompt: &mut Prompt) -> io::Result<Option<String>> {
    view::show_wrapped("One line; or an empty one, and then several.")?;
    match prompt.text("Message: ")? {
        Typed::Text(text) if text.trim_end_matches('\n').is_empty() => lines(prompt),
        Typed::Text(text) => Ok(Some(text.trim_end_matches('\n').to_owned())),
        Typed::Interrupt | Typed::End => thrown_away(prompt, MultilineDraft::default()),
    }
}

/// Asks for a message of several lines; `None` when it was thrown away.
///
/// # Errors
/// When the terminal is gone.
pub(super) fn lines(prompt: &mut Prompt) -> io::Result<Option<String>> {
    view::show_wrapped("Several lines. A single . on a line ends them; Ctrl-C throws them away.")?;
    let mut draft = MultilineDraft::default();
    loop {
        match prompt.text("| ")? {
            Typed::Text(text) => {
                if let Some(rest) = draft.add(&text) {
                    prompt.put_back(rest);
                    return finished(&draft);
                }
            }
            // As mail(1) has it.
            Typed::End => return finished(&draft),
            Typed::Interrupt => return thrown_away(prompt, draft),
        }
    }
}

fn finished(draft: &MultilineDraft) -> io::Result<Option<String>> {
    let text = draft.lines.join("\n");
    if text.is_empty() {
        view::show_wrapped("Nothing was written, and nothing is sent.")?;
        return Ok(None);
    }
    Ok(Some(text))
}

/// What was written is not sent, and can be had back.
fn thrown_away(prompt: &mut Prompt, mut draft: MultilineDraft) -> io::Result<Option<String>> {
    prompt.forget_ahead();
    let last = prompt.last_text();
    if !last.is_empty() {
        draft.lines.push(last);
    }
    let text = draft.lines.join("\n");
    if text.trim().is_empty() {
        view::show_wrapped("The message was thrown away.")?;
        return Ok(None);
    }
    prompt.remember(&text);
    view::show_wrapped("The message was thrown away; the arrow up brings it back.")?;
    Ok(None)
}

/// A message that is being written.
#[derive(Debug, Default)]
struct MultilineDraft {
    lines: Vec<String>,
}

impl MultilineDraft {
    /// Adds what was typed, or pasted. At the line that ends the message, returns what follows it.
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
    fn a_single_dot_ends_a_message_and_what_follows_is_not_part_of_it() {
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
