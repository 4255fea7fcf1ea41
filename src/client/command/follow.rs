//! `dropline follow`: messages as they come.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::read::{ReadError, must_have_output};
use crate::client::inbox::{COMMAND_WAIT, Inbox, InboxError};
use crate::client::link::{Link, LinkError, Verdict};
use crate::client::message_view::MessageView;
use crate::client::outbox::flush;
use crate::client::view::{self, Form, Printer};
use crate::message::MessageId;
use crate::name::Name;

/// The command line of `follow`.
#[derive(Debug, clap::Args)]
pub(in crate::client) struct Args {
    /// Run CMD for each message, with its text as standard input, instead of printing it
    #[arg(long, value_name = "CMD")]
    exec: Option<Exec>,
    /// One JSON object a line
    #[arg(long, conflicts_with = "exec")]
    json: bool,
}

/// After which time one tries again, at first.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// After which time one tries again, at last.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A command with its arguments, for each message once.
#[derive(Clone, Debug)]
struct Exec {
    program: String,
    arguments: Vec<String>,
}

impl std::str::FromStr for Exec {
    type Err = String;

    /// Words as a shell splits them, quotes included; no shell is asked.
    fn from_str(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).ok_or("a quote is not closed")?;
        match words.split_first() {
            Some((program, arguments)) => Ok(Self {
                program: program.clone(),
                arguments: arguments.to_vec(),
            }),
            None => Err("there is no command in it".into()),
        }
    }
}

impl Exec {
    /// Runs it with a message; why that did not work, if it did not.
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
            // Whoever does not read it does not want it.
            let _ = input.write_all(message.body);
        }
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{}: {status}", self.program)),
            Err(e) => Err(format!("cannot wait for {}: {e}", self.program)),
        }
    }
}

/// Follows the messages for one name.
struct Follower<'f> {
    of: &'f Name,
    exec: Option<&'f Exec>,
    form: Form,
    inbox: Option<Inbox>,
    /// How long to wait before the next try.
    pause: Duration,
}

/// Prints the messages for `of` as they come, or runs a command for each; each is acknowledged after that.
/// When the server or the command fails, it goes on after a while.
///
/// # Errors
/// When it is of no use to go on: nothing can be printed, or the server does not allow it.
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
                    view::notice("dropline: it is tried again until it works");
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
    /// What came straight from other clients, and nobody has seen.
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

    /// Shows a message, unless somebody has; those of the inbox are known there.
    fn handle(&mut self, message: &MessageView<'_>, from_inbox: bool) -> io::Result<Verdict> {
        let _turn = match self.inbox.as_ref().map(|inbox| inbox.showing(COMMAND_WAIT)) {
            Some(Ok(None)) => {
                view::notice(&format!(
                    "dropline: another client of {} is printing its messages just now",
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
        if message.id.is_some_and(|id| self.was_shown(id, from_inbox)) {
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
                        "dropline: {why}; the message from {} stays, and is tried again in {} s",
                        view::sanitized(message.from),
                        self.pause.as_secs()
                    ));
                    return Ok(Verdict::Later);
                }
            }
        }
        let noted = match (&mut self.inbox, message.id) {
            (Some(inbox), Some(id)) => inbox.note_shown(&[id]),
            _ => Ok(()),
        };
        if let Err(e) = noted {
            view::error(&e);
        }
        Ok(Verdict::Done)
    }

    fn was_shown(&mut self, id: MessageId, from_inbox: bool) -> bool {
        let Some(inbox) = &mut self.inbox else {
            return false;
        };
        let found: Result<bool, InboxError> = if from_inbox {
            inbox
                .waiting()
                .map(|waiting| waiting.iter().all(|message| message.id != id))
        } else {
            inbox.knows(id)
        };
        // What cannot be looked up is shown.
        found.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_into_words_without_a_shell() {
        let exec: Exec = "notify-send 'two words' $HOME; x".parse().expect("words");
        assert_eq!(exec.program, "notify-send");
        assert_eq!(exec.arguments, ["two words", "$HOME;", "x"]);
        assert!("'".parse::<Exec>().is_err());
        assert!(" ".parse::<Exec>().is_err());
    }
}
