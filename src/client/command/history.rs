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
    /// Print only messages from NAME, verified or not; ~NAME selects the unverified ones
    #[arg(long, value_name = "NAME")]
    from: Option<Sender>,
    /// Maximum number of messages
    #[arg(short = 'n', value_name = "NUMBER", default_value_t = DEFAULT_MOST,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000_000))]
    most: usize,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Print only messages that contain all of these words
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

/// The default for the maximum number of messages.
const DEFAULT_MOST: usize = 20;

/// Prints the messages that the command line selects.
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

/// A sender to select: `NAME`, or `~NAME` for unverified messages only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Sender {
    name: Name,
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

/// Selects messages of the history.
#[derive(Clone, Debug)]
pub(in crate::client) struct HistoryFilter {
    from: Option<Sender>,
    /// The words that the message must contain. Case is ignored.
    words: Vec<String>,
    /// The maximum number of messages.
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

/// An owned [`MessageView`], which outlives the connection.
struct OwnedMessage {
    seq: Option<u64>,
    id: Option<MessageId>,
    from: Vec<u8>,
    trust: Option<Trust>,
    at: Option<u64>,
    body: Vec<u8>,
}

/// Prints read messages of `of`, newest last. Returns their number.
///
/// # Errors
/// The server does not answer, or standard output cannot be written.
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
