//! Prints the help, and explains errors in the command line.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ErrorKind};

use super::cli::Cli;
use super::{exit, view};

/// Prints the requested help, or explains an error in the command line. Returns the exit status.
pub(super) fn answer(mut error: clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let printed = view::write_bytes(error.render().to_string().as_bytes());
        return match printed {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                if e.kind() != std::io::ErrorKind::BrokenPipe {
                    view::notice(&format!("dropline: cannot write: {e}"));
                }
                exit::CANNOT_WRITE.into()
            }
        };
    }
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let is_odd = match error.kind() {
        ErrorKind::InvalidSubcommand => true,
        // Two words, the first neither a command nor a host: clap takes the second for an invalid PORT.
        ErrorKind::ValueValidation => {
            about(&error, ContextKind::InvalidArg).starts_with("[PORT]")
                && !about(&error, ContextKind::InvalidValue)
                    .starts_with(|c: char| c.is_ascii_digit())
        }
        _ => false,
    };
    if let Some(word) = first_word(&words).filter(|_| is_odd) {
        let like = similar(word).map(|command| format!("; did you mean '{command}'?"));
        view::notice(&format!(
            "error: '{word}' is not a command{}\n\nFor more information, try '--help'.",
            like.unwrap_or_default()
        ));
        return exit::USAGE.into();
    }
    // clap suggests `-- WORD`, which is valid only for arguments that may begin with a hyphen.
    let usage = about(&error, ContextKind::Usage);
    let takes_words = ["<TEXT>", "<COMMAND>", "[WORD]"];
    if !takes_words.iter().any(|word| usage.contains(word)) {
        error.remove(ContextKind::Suggested);
    }
    view::notice(error.render().to_string().trim_end());
    exit::USAGE.into()
}

/// Returns one detail of the error as text, or an empty string.
fn about(error: &clap::Error, kind: ContextKind) -> String {
    error.get(kind).map(ToString::to_string).unwrap_or_default()
}

/// Returns the first word that is neither an option nor the value of an option.
fn first_word(words: &[impl AsRef<str>]) -> Option<&str> {
    let command = Cli::command();
    let takes_value = |word: &str| {
        command.get_arguments().any(|option| {
            let long = option.get_long().map(|long| format!("--{long}"));
            let short = option.get_short().map(|short| format!("-{short}"));
            let is_it = [long, short].iter().flatten().any(|name| name == word);
            is_it && option.get_action().takes_values()
        })
    };
    let mut words = words.iter().map(AsRef::as_ref);
    while let Some(word) = words.next() {
        if takes_value(word) {
            words.next();
        } else if !word.starts_with('-') {
            return Some(word);
        }
    }
    None
}

/// Returns the command whose name is most similar to `word`.
fn similar(word: &str) -> Option<String> {
    const MOST: usize = 2;
    let command = Cli::command();
    let names = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    names
        .map(|sub| (distance(word, sub.get_name()), sub.get_name().to_owned()))
        .filter(|(distance, name)| *distance <= MOST && *distance < name.len() / 2 + 1)
        .min()
        .map(|(_, name)| name)
}

/// Returns the Levenshtein distance of two words.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut before = i;
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = before + usize::from(a != *b);
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_a_command_for_a_misspelt_one() {
        assert_eq!(similar("sned").as_deref(), Some("send"));
        assert_eq!(similar("histroy").as_deref(), Some("history"));
        assert_eq!(similar("localhost"), None);
        assert_eq!(similar("bob"), None);
        assert_eq!(first_word(&["-u", "al", "-v", "sned", "bob"]), Some("sned"));
        assert_eq!(first_word(&["-v"]), None);
    }
}
