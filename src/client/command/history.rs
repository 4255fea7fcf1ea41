//! `dropline history`.

use std::io;
use std::str::FromStr;

use clap::builder::RangedU64ValueParser;

use crate::client::link::{Link, LinkError};
use crate::client::message_view::MessageView;
use crate::client::view::{Form, Printer};
use crate::message::{MessageId, Trust};
use crate::name::{Name, NameError};

/// The command line of `history`.
#[derive(Debug, clap::Args)]
pub(in crate::client) struct Args {
    /// Only from NAME, whether that is verified or not; ~NAME is only who has said so, unverified
    #[arg(long, value_name = "NAME")]
    from: Option<Sender>,
    /// How many at most
    #[arg(short = 'n', value_name = "NUMBER", default_value_t = DEFAULT_MOST,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000_000))]
    most: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Only with all of these words in them
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

/// How many messages are shown where nothing else is said.
const DEFAULT_MOST: usize = 20;

/// Prints the messages that the command line asks for.
///
/// # Errors
/// As for [`history`].
pub(super) fn command(link: &Link, of: &Name, args: &Args) -> Result<(), LinkError> {
    let filter = HistoryFilter {
        from: args.from.clone(),
        words: args.words.clone(),
        most: args.most,
    };
    let form = if args.json { Form::Json } else { Form::Dated };
    let printer = Printer::new(&io::stdout(), form);
    history(link, of, &filter, printer).map(drop)
}

/// A sender, as messages are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Sender {
    /// Who.
    name: Name,
    /// Whether only what they have said, and nobody has verified, is meant.
    is_claim: bool,
}

impl FromStr for Sender {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let claim = text.strip_prefix('~');
        Ok(Self {
            name: claim.unwrap_or(text).parse()?,
            is_claim: claim.is_some(),
        })
    }
}

/// Which messages of the history are wanted.
#[derive(Clone, Debug)]
pub(in crate::client) struct HistoryFilter {
    /// Only from this sender.
    from: Option<Sender>,
    /// Only with these words in them, in any case.
    words: Vec<String>,
    /// How many at most.
    most: usize,
}

impl Default for HistoryFilter {
    fn default() -> Self {
        Self {
            from: None,
            words: Vec::new(),
            most: DEFAULT_MOST,
        }
    }
}

impl HistoryFilter {
    fn matches(&self, message: &MessageView<'_>) -> bool {
        if let Some(from) = &self.from
            && (from.name.as_bytes() != message.from
                || (from.is_claim && message.trust == Some(Trust::Local)))
        {
            return false;
        }
        if self.words.is_empty() {
            return true;
        }
        let text = String::from_utf8_lossy(message.body).to_lowercase();
        self.words
            .iter()
            .all(|word| text.contains(&word.to_lowercase()))
    }
}

/// A message that outlives the connection that it came by.
struct OwnedMessage {
    seq: Option<u64>,
    id: Option<MessageId>,
    from: Vec<u8>,
    trust: Option<Trust>,
    at: Option<u64>,
    body: Vec<u8>,
}

/// Prints messages of `of` that were read before and are still kept, the newest last; how many.
///
/// # Errors
/// When the server does not answer, or nothing can be printed.
pub(in crate::client) fn history(
    link: &Link,
    of: &Name,
    filter: &HistoryFilter,
    mut printer: Printer,
) -> Result<usize, LinkError> {
    let mut messages: Vec<OwnedMessage> = Vec::new();
    if filter.most > 0 {
        link.history(of, &mut |message| {
            if filter.matches(message) {
                messages.push(OwnedMessage {
                    seq: message.seq,
                    id: message.id,
                    from: message.from.to_vec(),
                    trust: message.trust,
                    at: message.at,
                    body: message.body.to_vec(),
                });
            }
            messages.len() < filter.most
        })?;
    }
    for message in messages.iter().rev() {
        let message = MessageView {
            seq: message.seq,
            id: message.id,
            from: &message.from,
            trust: message.trust,
            at: message.at,
            body: &message.body,
        };
        printer
            .print_message(&message)
            .map_err(LinkError::Printing)?;
    }
    printer.flush().map_err(LinkError::Printing)?;
    Ok(messages.len())
}
