//! `dropline send`.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Read};
use std::str::FromStr;

use crate::client::handle::Handle;
use crate::client::instant::SendReport;
use crate::client::link::LinkError;
use crate::client::submission::{Route, SendError, Submission, Submitter, describe, queued};
use crate::client::{duration, exit, view};
use crate::message::LARGEST_MAX_BODY;
use crate::name::{Name, NameError};
use crate::sys::stdio;

/// The command line of `send`.
#[derive(Debug, clap::Args)]
pub(in crate::client) struct Args {
    /// Send from client to client if NAME is online, else through the server
    #[arg(short, long)]
    instant: bool,
    /// Time to live of the message: seconds, or 10m, 2h, 1d; at most 36600d
    #[arg(long, value_name = "TIME", value_parser = duration::seconds)]
    ttl: Option<u64>,
    /// Recipient, or several separated by commas
    #[arg(value_name = "NAME")]
    to: Recipients,
    /// Text of the message; `-` reads it from standard input
    #[arg(value_name = "TEXT", required = true, allow_hyphen_values = true)]
    text: Vec<String>,
}

impl Args {
    /// Returns the first word of the text.
    pub(super) fn first_word(&self) -> Option<Cow<'_, str>> {
        self.text.first().map(|word| word.as_str().into())
    }
}

/// One or more names in one word, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Recipients(pub(super) Vec<Name>);

impl FromStr for Recipients {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Sends the text to each recipient. If the text is a single `-`, sends standard input without its last newline. Prints
/// a handle, such as `bob/17`, for each message that the server has stored. Returns the exit status.
///
/// # Errors
/// There is no text, a message was refused, or a handle cannot be printed.
pub(super) fn send(submitter: &Submitter<'_>, args: &Args, verbose: bool) -> Result<u8, SendError> {
    let route = match args.instant {
        true => Route::Instant,
        false => Route::Server,
    };
    let to = &args.to.0;
    let body = match &args.text[..] {
        [dash] if dash == "-" => read_input()?,
        words => words.join(" ").into_bytes(),
    };
    let mut status = exit::DONE;
    let (mut told, mut unprinted, mut refused) = (None, None, None::<SendError>);
    for (at, name) in to.iter().enumerate() {
        if to[..at].contains(name) {
            continue;
        }
        match submitter.send(name, &body, route, args.ttl) {
            Ok(Submission::Delivered(delivery)) => {
                if let SendReport::Stored(_, Some(seq)) = delivery {
                    let to = name.clone();
                    let printed = view::print_line(&Handle { to, seq }.to_string());
                    // Report this error only after the message is sent to the other recipients.
                    unprinted = printed.err().or(unprinted);
                }
                if verbose {
                    view::notice(&describe(name, &Submission::Delivered(delivery)));
                }
                if io::stderr().is_terminal()
                    && let Some(note) = submitter.unknown_recipient_notice(name, delivery)
                {
                    view::notice(&note);
                }
            }
            Ok(Submission::Queued(why)) => {
                status = exit::LATER;
                // The reason is usually the same for all recipients: print it once.
                if told.as_ref() != Some(&why) {
                    view::notice(&format!("dropline: {why}"));
                    told = Some(why);
                }
                view::notice(&queued(name));
            }
            Err(e) => {
                let text = e.to_string();
                // The caller prints the last error. Print the one before it here if it differs.
                let earlier = refused.replace(e);
                if let Some(earlier) = earlier.filter(|earlier| earlier.to_string() != text) {
                    view::error(&earlier);
                }
            }
        }
    }
    match (unprinted, refused) {
        (Some(e), _) => Err(LinkError::Handle(e).into()),
        (None, Some(e)) => Err(e),
        (None, None) => Ok(status),
    }
}

fn read_input() -> Result<Vec<u8>, SendError> {
    if stdio::input_is_closed() {
        return Err(SendError::Input(io::Error::other("it is closed")));
    }
    let mut body = Vec::new();
    let most = LARGEST_MAX_BODY as u64 + 2;
    io::stdin()
        .lock()
        .take(most)
        .read_to_end(&mut body)
        .map_err(SendError::Input)?;
    if body.ends_with(b"\n") {
        body.pop();
    }
    if body.len() > LARGEST_MAX_BODY {
        return Err(SendError::TooLong);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn recipients_are_one_word_and_the_text_is_the_rest() {
        let counts = |words: &[&str]| {
            let line = <Line as clap::Parser>::try_parse_from([&["send"], words].concat());
            line.map(|Line { args }| (args.to.0.len(), args.text.len()))
                .ok()
        };
        assert_eq!(counts(&["bob,carol", "--", "a", "-b"]), Some((2, 2)));
        assert_eq!(counts(&["bob", "hi", "there"]), Some((1, 2)));
        assert_eq!(counts(&["bob,,carol", "a"]), None);
    }
}
