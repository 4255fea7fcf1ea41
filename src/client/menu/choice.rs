//! What was chosen at the menu's prompt: by number, by letter, or by a command of the old chat client.

use crate::name::Name;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Nothing was typed.
    Nothing,
    /// Send a message, of one line as a rule, to somebody who is still to be named.
    Send,
    /// Send a message of several lines to this name.
    SendTo(Name),
    /// Show what waits.
    Read,
    /// Leave.
    Exit,
    /// Show who is there.
    Who,
    /// Answer the last message.
    Reply,
    /// Show what was read before.
    History,
    /// Show what could not be sent.
    Outbox,
    /// Explain.
    Help,
    /// Say how things are.
    Status,
    /// Be this name from now on.
    Register(Name),
    /// Be forgotten.
    Deregister,
    /// It cannot be done: why, and what to type instead.
    Wrong(String),
}

/// What this line means.
pub(super) fn parse(line: &str) -> Choice {
    let line = line.trim();
    if let Some(command) = line.strip_prefix('!') {
        return old(command);
    }
    match line.to_ascii_lowercase().as_str() {
        "" => Choice::Nothing,
        "1" | "s" | "send" => Choice::Send,
        "2" | "read" => Choice::Read,
        "r" | "reply" => Choice::Reply,
        "h" | "history" => Choice::History,
        "o" | "outbox" => Choice::Outbox,
        "3" | "q" | "x" | "exit" | "quit" => Choice::Exit,
        "w" | "who" => Choice::Who,
        "?" | "help" => Choice::Help,
        _ => Choice::Wrong("Type 1, 2 or 3. (? says what else there is.)".into()),
    }
}

fn old(command: &str) -> Choice {
    let (word, rest) = command
        .split_once(char::is_whitespace)
        .unwrap_or((command, ""));
    let rest = rest.trim();
    let alone = |choice| match rest {
        "" => choice,
        _ => Choice::Wrong(format!("!{word} stands alone.")),
    };
    let named = |choice: fn(Name) -> Choice| match rest.parse() {
        Ok(name) => choice(name),
        Err(_) if rest.is_empty() => Choice::Wrong(format!("Type !{word} NAME.")),
        Err(e) => Choice::Wrong(format!("That is not a name: {e}.")),
    };
    match word {
        "help" => alone(Choice::Help),
        "who" => alone(Choice::Who),
        "status" => alone(Choice::Status),
        "quit" | "exit" => alone(Choice::Exit),
        "deregister" => alone(Choice::Deregister),
        "register" => named(Choice::Register),
        "send" => named(Choice::SendTo),
        _ => Choice::Wrong(
            "The commands are !send NAME, !who, !register NAME, !deregister, !status, !help and !quit."
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn numbers_letters_and_old_commands() {
        for (line, choice) in [
            (" 1 ", Choice::Send),
            ("READ", Choice::Read),
            ("3", Choice::Exit),
            ("w", Choice::Who),
            ("r", Choice::Reply),
            ("h", Choice::History),
            ("o", Choice::Outbox),
            ("?", Choice::Help),
            ("", Choice::Nothing),
            ("!send bob", Choice::SendTo(n("bob"))),
            ("!register  Al ", Choice::Register(n("Al"))),
            ("!deregister", Choice::Deregister),
            ("!who", Choice::Who),
            ("!quit", Choice::Exit),
            ("!help", Choice::Help),
            ("!status", Choice::Status),
        ] {
            assert_eq!(parse(line), choice, "{line:?}");
        }
        for wrong in ["9", "!send", "!send a/b", "!register", "!who me", "!", "!x"] {
            assert!(matches!(parse(wrong), Choice::Wrong(_)), "{wrong:?}");
        }
    }
}
