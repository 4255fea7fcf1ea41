//! `dropline outbox`.

use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;

use crate::client::link::Server;
use crate::client::outbox::{Event, Item, Outbox, OutboxError, Queued, describe, flush};
use crate::client::{exit, view};

/// The command line of `outbox`.
#[derive(Debug, clap::Args)]
pub(in crate::client) struct Args {
    /// Send the messages now, including those that were refused
    #[arg(long)]
    send: bool,
    /// Discard the message whose id begins with ID
    #[arg(long, value_name = "ID", conflicts_with = "send", value_parser = NonEmptyStringValueParser::new())]
    drop: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Why `outbox` failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum OutboxCommandError {
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// No message has an id with this prefix.
    #[error(
        "no message in the outbox has an id that begins with {0}; `dropline outbox` lists them"
    )]
    NoSuch(String),
    /// So many messages have an id with this prefix.
    #[error("{0} messages in the outbox have an id that begins with {1}; give more of the id")]
    Several(usize, String),
    #[error("cannot write: {0}")]
    Output(std::io::Error),
}

/// Lists the outbox, sends its messages, or discards one. Returns the exit status.
///
/// # Errors
/// The outbox or standard output cannot be used, or the message to discard is not found.
pub(super) fn command(args: &Args) -> Result<u8, OutboxCommandError> {
    if let Some(id) = &args.drop {
        drop_message(id)?;
    } else if args.send {
        let deferred = flush(true, true)?;
        if let Some(why) = &deferred.why {
            view::error(why);
        }
        if !deferred.is_empty() {
            return Ok(exit::LATER);
        }
    } else {
        list(args.json)?;
    }
    Ok(exit::DONE)
}

/// A queued message as JSON.
#[derive(Serialize)]
struct OutboxRecord<'a> {
    id: String,
    to: String,
    from: String,
    at: String,
    server: Option<String>,
    state: &'static str,
    reason: Option<&'a str>,
    #[serde(flatten)]
    body: view::Body<'a>,
}

/// Lists the messages in the outbox.
///
/// # Errors
/// The outbox cannot be read, or standard output cannot be written.
pub(in crate::client) fn list(json: bool) -> Result<(), OutboxCommandError> {
    let items = match Outbox::existing()? {
        Some(outbox) => outbox.items()?,
        None => Vec::new(),
    };
    if items.is_empty() && !json {
        view::notice("The outbox is empty.");
    }
    for Item { name, message } in &items {
        let line = match message {
            None => {
                view::notice(&format!("dropline: {}", describe(&Event::Damaged(name))));
                continue;
            }
            Some(message) if json => view::object(&to_line(message)),
            Some(message) => text(message),
        };
        view::print_line(&line).map_err(OutboxCommandError::Output)?;
    }
    Ok(())
}

fn to_line(message: &Queued) -> OutboxRecord<'_> {
    OutboxRecord {
        id: message.id.to_string(),
        to: message.to.to_string(),
        from: message.from.to_string(),
        at: view::rfc3339(message.at),
        server: message.server.as_ref().map(Server::to_string),
        state: state(message),
        reason: message.refused.as_deref(),
        body: view::Body::of(&message.body),
    }
}

fn state(message: &Queued) -> &'static str {
    match message.refused {
        Some(_) => "refused",
        None => "waiting",
    }
}

/// Formats a message for the list: the beginning of the id, the header, and the beginning of the text.
fn text(message: &Queued) -> String {
    let id = message.id.to_string();
    let first = message.body.split(|b| *b == b'\n').next();
    let first: String = view::sanitized(first.unwrap_or_default())
        .chars()
        .take(40)
        .collect();
    let mut line = format!(
        "{}  {}  from {} to {}  {}  {first}",
        &id[..8],
        view::moment(message.at),
        message.from,
        message.to,
        state(message)
    );
    if let Some(why) = &message.refused {
        line.push_str(&format!("\n\t{}", view::sanitized(why.as_bytes())));
    }
    line
}

/// Discards the message whose id begins with `id`. A damaged file is selected by its full name.
///
/// # Errors
/// Not exactly one message is selected, or it cannot be removed.
fn drop_message(id: &str) -> Result<(), OutboxCommandError> {
    let id = id.to_ascii_lowercase();
    let outbox = Outbox::existing()?;
    let items = match &outbox {
        Some(outbox) => outbox.items()?,
        None => Vec::new(),
    };
    let is_it = |item: &&Item| match &item.message {
        Some(message) => message.id.to_string().starts_with(&id),
        None => item.name == id,
    };
    let found: Vec<_> = items.iter().filter(is_it).collect();
    match (outbox, &found[..]) {
        (Some(outbox), [item]) => Ok(outbox.drop_message(&item.name)?),
        (_, []) => Err(OutboxCommandError::NoSuch(id)),
        _ => Err(OutboxCommandError::Several(found.len(), id)),
    }
}
