//! The commands, one file each.
//!
//! A new command needs a file, a variant of [`Command`] and an arm of [`run()`]. The arm obtains the server and the
//! user name from the [`Invocation`], and states with a [`Flush`] how the outbox is flushed. After a change, regenerate
//! the manual page, whose prose is in man.roff, and the completions; `tests/commands.rs` compares them:
//!
//! ```sh
//! cargo run --bin dropline -- man >etc/man/dropline.1
//! cargo run --bin dropline -- completion bash >etc/completions/dropline.bash
//! cargo run --bin dropline -- completion zsh >etc/completions/_dropline
//! cargo run --bin dropline -- completion fish >etc/completions/dropline.fish
//! ```

mod completion;
mod config;
mod count;
mod follow;
pub(super) mod history;
mod man;
pub(super) mod outbox;
pub(super) mod read;
mod run;
mod send;
mod status;
pub(super) mod who;

use std::borrow::Cow;
use std::io::{self, IsTerminal as _};

use clap::Subcommand;

use super::failure::Failure;
use super::invocation::{Flush, Invocation};
use super::{exit, menu, view};
use crate::name::Name;

/// The commands. The comments are help texts.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send a message and print its handle, such as bob/17. If the server cannot take the message now, queue it in the
    /// outbox to be sent later (exit status 75)
    #[command(
        after_help = "Examples:\n  dropline send bob \"disk full on n12\"\n  make 2>&1 | tail -n 5 | dropline send bob,carol -\n  dropline send --ttl 10m bob \"lunch?\""
    )]
    Send(send::Args),
    /// Print the messages waiting for you, and acknowledge them afterwards
    #[command(after_help = "Examples:\n  dropline read\n  dropline read --json | jq -r .body")]
    Read(read::Args),
    /// Print messages as they arrive, until interrupted
    #[command(after_help = "Example:\n  dropline follow --exec \"notify-send 'A line'\"")]
    Follow(follow::Args),
    /// List the registered users, and whether they are online
    #[command(after_help = "Example:\n  dropline who")]
    Who(who::Args),
    /// Print the status of a message that you have sent: waiting, read or expired
    #[command(after_help = "Example:\n  dropline status bob/17")]
    Status(status::Args),
    /// Print messages that you have read and the server still keeps, newest last
    #[command(
        after_help = "Examples:\n  dropline history --from bob disk full\n  dropline history -n 100 --json"
    )]
    History(history::Args),
    /// Print the number of messages waiting for you; the exit status is 1 if there are none
    #[command(after_help = "Example:\n  dropline count >/dev/null && echo \"You have messages.\"")]
    Count,
    /// List the messages that could not be sent yet, or were refused
    #[command(after_help = "Examples:\n  dropline outbox\n  dropline outbox --drop 2334bee6")]
    Outbox(outbox::Args),
    /// Chat with NAME, line by line
    #[command(after_help = "Example:\n  dropline chat bob")]
    Chat {
        /// User to chat with
        #[arg(value_name = "NAME")]
        with: Name,
    },
    /// Run a command, and send NAME its result, its duration and its last lines of output; the exit status is that of
    /// the command
    #[command(after_help = "Example:\n  dropline run bob -- make -j8")]
    Run(run::Args),
    /// Print the settings in force, and where each is set
    #[command(after_help = "Example:\n  dropline -d localhost -u alice config")]
    Config,
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  dropline completion bash >~/.local/share/bash-completion/completions/dropline"
    )]
    Completion(completion::Args),
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

/// Runs the command, or the menu if there is none, and returns the exit status. `line` defines the command line.
///
/// # Errors
/// The command failed.
pub(super) fn run(
    command: Option<&Command>,
    call: &Invocation<'_>,
    line: clap::Command,
) -> Result<u8, Failure> {
    match command {
        None => open_menu(call, None, Failure::NoCommand),
        Some(Command::Chat { with }) => open_menu(call, Some(with), Failure::NoTerminal),
        Some(Command::Send(args)) => {
            must_be_text(args.first_word())?;
            let (client, user) = call.user(Flush::BeforeSending)?;
            Ok(send::send(&client.submitter(&user), args, client.verbose)?)
        }
        Some(Command::Read(args)) => {
            let (client, user) = call.user(Flush::InPassing)?;
            read::command(
                &client.link.with_notice(view::notice),
                &user,
                args,
                client.verbose,
            )?;
            Ok(exit::DONE)
        }
        Some(Command::Follow(args)) => {
            let (client, user) = call.user(Flush::InPassing)?;
            follow::follow(&client.link, &user, args)?;
            Ok(exit::DONE)
        }
        Some(Command::Who(args)) => {
            let client = call.server(Flush::InPassing)?;
            let user = client.user();
            who::who(&client.link.with_notice(view::notice), user.as_ref(), args)?;
            Ok(exit::DONE)
        }
        Some(Command::Status(args)) => {
            let (client, user) = call.user(Flush::InPassing)?;
            status::status(&client.link.with_notice(view::notice), &user, args)?;
            Ok(exit::DONE)
        }
        Some(Command::History(args)) => {
            let (client, user) = call.user(Flush::InPassing)?;
            history::command(&client.link.with_notice(view::notice), &user, args)?;
            Ok(exit::DONE)
        }
        Some(Command::Count) => {
            let (client, user) = call.user(Flush::InPassing)?;
            Ok(count::count(&client.link.with_notice(view::notice), &user)?)
        }
        Some(Command::Run(args)) => {
            must_be_text(args.first_word())?;
            // The job must not wait for the outbox, which is flushed after it.
            let (mut client, user) = call.user(Flush::Never)?;
            let report = run::run(&args.words);
            client.flush(Flush::BeforeSending);
            Ok(run::tell(&client.submitter(&user), &args.to, &report))
        }
        Some(Command::Outbox(args)) => {
            // Only --send flushes.
            call.settings()?;
            Ok(outbox::command(args)?)
        }
        Some(Command::Config) => {
            config::config(&call.settings()?)?;
            Ok(exit::DONE)
        }
        Some(Command::Completion(args)) => {
            completion::print(line, args)?;
            Ok(exit::DONE)
        }
        Some(Command::Man) => {
            man::print(line)?;
            Ok(exit::DONE)
        }
    }
}

/// Opens the menu, whose outbox worker flushes the outbox. Returns `without_terminal` if there is no terminal.
fn open_menu(
    call: &Invocation<'_>,
    partner: Option<&Name>,
    without_terminal: Failure,
) -> Result<u8, Failure> {
    let client = call.server(Flush::Never)?;
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(without_terminal);
    }
    menu::run(menu::Start {
        user: client.user(),
        link: client.link,
        named: client.settings.server.value,
        source: client.settings.source.value.unwrap_or_default(),
        verbose: client.verbose,
        partner: partner.cloned(),
    })?;
    Ok(exit::DONE)
}

/// Refuses a text or a job whose first word looks like an option, unless the command line contains `--`.
fn must_be_text(word: Option<Cow<'_, str>>) -> Result<(), Failure> {
    match word {
        Some(word) if is_like_an_option(&word) && std::env::args_os().all(|word| word != "--") => {
            Err(Failure::NoOption(word.into_owned()))
        }
        _ => Ok(()),
    }
}

/// Returns whether a word looks like an option rather than text.
fn is_like_an_option(word: &str) -> bool {
    let letters = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    letters.is_some_and(|letters| {
        letters.starts_with(|c: char| c.is_ascii_alphabetic())
            && letters
                .split('=')
                .next()
                .is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_options_from_text() {
        for option in ["--tll", "--ttl=5", "-x", "--no-such"] {
            assert!(is_like_an_option(option), "{option}");
        }
        for text in [
            "-",
            "--",
            "-5",
            "--- done ---",
            "-x is an option",
            "a",
            "->",
        ] {
            assert!(!is_like_an_option(text), "{text}");
        }
    }
}
