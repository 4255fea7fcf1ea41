//! Parses input at the menu's prompt: numbers, letters, and the commands of the old chat client.

use crate::name::Name;

/// A choice made at the menu's prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// An empty line.
    Nothing,
    /// Send a message; prompt for the recipient.
    Send,
    /// Send a message of several lines to this name.
    SendTo(Name),
    /// Show the waiting messages.
    Read,
    Exit,
    /// List the users and their presence.
    Who,
    /// Reply to the sender of the last message.
    Reply,
    /// Show messages read earlier.
    History,
    Outbox,
    Help,
    Status,
    /// Change the user's name.
    Register(Name),
    /// Remove the user's name from the server.
    Deregister,
    /// Invalid input, with the message to show.
    Wrong(String),
}

/// Parses a line.
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
        _ => Choice::Wrong("Type 1, 2 or 3. Type ? for help.".into()),
    }
}

fn old(command: &str) -> Choice {
    let (word, rest) = command
        .split_once(char::is_whitespace)
        .unwrap_or((command, ""));
    let rest = rest.trim();
    let alone = |choice| match rest {
        "" => choice,
        _ => Choice::Wrong(format!("!{word} takes no argument.")),
    };
    let named = |choice: fn(Name) -> Choice| match rest.parse() {
        Ok(name) => choice(name),
        Err(_) if rest.is_empty() => Choice::Wrong(format!("Usage: !{word} NAME")),
        Err(e) => Choice::Wrong(format!("Invalid name: {e}.")),
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
            "Unknown command. The commands are !send NAME, !who, !register NAME, !deregister, !status, !help and !quit."
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
