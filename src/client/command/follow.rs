//! `dropline follow`: prints messages as they arrive.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::read::{ReadError, must_have_output};
use crate::client::inbox::{COMMAND_WAIT, Inbox, InboxError};
use crate::client::link::{Link, LinkError, Verdict};
use crate::client::message_view::MessageView;
use crate::client::outbox::flush;
use crate::client::view::{self, Form, Printer};
use crate::message::MessageKey;
use crate::name::Name;

/// The command line of `follow`.
#[derive(Debug, clap::Args)]
pub(in crate::client) struct Args {
    /// Run CMD for each message, with the text on standard input, instead of printing it
    #[arg(long, value_name = "CMD")]
    exec: Option<Exec>,
    /// Print one JSON object per line
    #[arg(long, conflicts_with = "exec")]
    json: bool,
}

/// The pause before the first retry. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause before a retry.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A command that is run once for each message.
#[derive(Clone, Debug)]
struct Exec {
    program: String,
    arguments: Vec<String>,
}

impl std::str::FromStr for Exec {
    type Err = String;

    /// Splits the text into words like a shell, with quotes, but without running one.
    fn from_str(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).ok_or("a quote is not closed")?;
        match words.split_first() {
            Some((program, arguments)) => Ok(Self {
                program: program.clone(),
                arguments: arguments.to_vec(),
            }),
            None => Err("the command is empty".into()),
        }
    }
}

impl Exec {
    /// Runs the command with a message.
    ///
    /// # Errors
    /// The command cannot be run, or has failed, as a sentence.
    fn run(&self, message: &MessageView<'_>) -> Result<(), String> {
        let number = |number: Option<u64>| number.map_or(String::new(), |n| n.to_string());
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env(
                "DROPLINE_FROM",
                String::from_utf8_lossy(message.from).as_ref(),
            )
            .env("DROPLINE_SEQ", number(message.seq))
            .env(
                "DROPLINE_ID",
                message.id.map_or(String::new(), |id| id.to_string()),
            )
            .env(
                "DROPLINE_AT",
                message.at.map_or(String::new(), view::rfc3339),
            )
            .env(
                "DROPLINE_TRUST",
                message
                    .trust
                    .map_or(String::new(), |trust| trust.to_string()),
            )
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot run {}: {e}", self.program))?;
        if let Some(mut input) = child.stdin.take() {
            // The command need not read its standard input: its exit status decides.
            let _ = input.write_all(message.body);
        }
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{}: {status}", self.program)),
            Err(e) => Err(format!("cannot wait for {}: {e}", self.program)),
        }
    }
}

/// The state of `follow`.
struct Follower<'f> {
    of: &'f Name,
    exec: Option<&'f Exec>,
    form: Form,
    inbox: Option<Inbox>,
    /// The pause before the next retry.
    pause: Duration,
}

/// Prints each message for `of` as it arrives, or runs a command for it, and acknowledges it afterwards. Retries if the
/// server fails temporarily or the command fails.
///
/// # Errors
/// Standard output cannot be written, or the server fails permanently.
pub(super) fn follow(link: &Link, of: &Name, args: &Args) -> Result<(), ReadError> {
    must_have_output()?;
    let inbox = Inbox::open(of).inspect_err(|e| view::error(e)).ok();
    let mut follower = Follower {
        of,
        exec: args.exec.as_ref(),
        form: Form::json_if(args.json),
        inbox,
        pause: FIRST_PAUSE,
    };
    let mut is_away = false;
    loop {
        let ended = match follower.inbox_first() {
            Ok(Verdict::Done) => link.watch(of, &mut |message| {
                if std::mem::take(&mut is_away) {
                    view::notice("dropline: the server is back");
                }
                follower.take(message)
            }),
            Ok(Verdict::Later) => Ok(()),
            Err(e) => Err(LinkError::Output(e)),
        };
        match ended {
            Ok(()) => {}
            Err(e) if link.is_temporary(&e) => {
                if !std::mem::replace(&mut is_away, true) {
                    view::error(&e);
                    view::notice("dropline: retrying until the server is back");
                }
            }
            Err(e) => return Err(e.into()),
        }
        std::thread::sleep(follower.pause);
        follower.pause = (follower.pause * 2).min(LONGEST_PAUSE);
        if let Err(e) = flush(false, false) {
            view::error(&e);
        }
    }
}

impl Follower<'_> {
    /// Handles the instant messages in the inbox that were not shown yet.
    fn inbox_first(&mut self) -> io::Result<Verdict> {
        let waiting = match self.inbox.as_mut().map(Inbox::waiting) {
            Some(Ok(waiting)) => waiting,
            Some(Err(e)) => {
                view::error(&e);
                Vec::new()
            }
            None => Vec::new(),
        };
        for message in &waiting {
            if self.handle(&MessageView::from(message), true)? == Verdict::Later {
                return Ok(Verdict::Later);
            }
        }
        Ok(Verdict::Done)
    }

    fn take(&mut self, message: &MessageView<'_>) -> io::Result<Verdict> {
        let verdict = self.handle(message, false)?;
        if verdict == Verdict::Done {
            self.pause = FIRST_PAUSE;
        }
        Ok(verdict)
    }

    /// Prints a message or runs the command for it, unless it was shown before.
    fn handle(&mut self, message: &MessageView<'_>, from_inbox: bool) -> io::Result<Verdict> {
        let _turn = match self.inbox.as_ref().map(|inbox| inbox.showing(COMMAND_WAIT)) {
            Some(Ok(None)) => {
                view::notice(&format!(
                    "dropline: another client of {} is printing messages",
                    self.of
                ));
                return Ok(Verdict::Later);
            }
            Some(Ok(turn)) => turn,
            Some(Err(e)) => {
                view::error(&e);
                None
            }
            None => None,
        };
        let key = message.key();
        if key
            .as_ref()
            .is_some_and(|key| self.was_shown(key, from_inbox))
        {
            return Ok(Verdict::Done);
        }
        match self.exec {
            None => {
                let mut printer = Printer::new(&io::stdout(), self.form);
                printer.print_message(message)?;
                printer.flush()?;
            }
            Some(exec) => {
                if let Err(why) = exec.run(message) {
                    view::notice(&format!(
                        "dropline: {why}; the message from {} stays waiting, and is tried again in {} s",
                        view::sanitized(message.from),
                        self.pause.as_secs()
                    ));
                    return Ok(Verdict::Later);
                }
            }
        }
        let noted = match (&mut self.inbox, key) {
            (Some(inbox), Some(key)) => inbox.note_shown(&[key]),
            _ => Ok(()),
        };
        if let Err(e) = noted {
            view::error(&e);
        }
        Ok(Verdict::Done)
    }

    /// Returns whether a message was shown before. `Inbox::knows` is also true for messages that wait in the inbox.
    fn was_shown(&mut self, key: &MessageKey, from_inbox: bool) -> bool {
        let Some(inbox) = &mut self.inbox else {
            return false;
        };
        let found: Result<bool, InboxError> = if from_inbox {
            inbox
                .waiting()
                .map(|waiting| waiting.iter().all(|message| message.key != *key))
        } else {
            inbox.knows(key)
        };
        // If the lookup fails, show the message.
        found.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_command_into_words_without_a_shell() {
        let exec: Exec = "notify-send 'two words' $HOME; x".parse().expect("words");
        assert_eq!(exec.program, "notify-send");
        assert_eq!(exec.arguments, ["two words", "$HOME;", "x"]);
        assert!("'".parse::<Exec>().is_err());
        assert!(" ".parse::<Exec>().is_err());
    }
}
