//! `dropline outbox`, and what every command does for the outbox in passing.

use serde::Serialize;

use crate::client::link::Server;
use crate::client::outbox::{
    Event, Item, Outbox, OutboxError, Queued, Stuck, send_all, send_before,
};
use crate::client::view;

/// Why the outbox did not do it.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum DropError {
    /// The outbox itself.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// No message has an id like that.
    #[error(
        "no message in the outbox has an id that begins with {0}; `dropline outbox` lists them"
    )]
    NoSuch(String),
    /// Several have.
    #[error("{0} messages in the outbox have an id that begins with {1}: give more of it")]
    Several(usize, String),
    /// Standard output is gone.
    #[error("cannot write: {0}")]
    Output(std::io::Error),
}

/// Sends what can be sent of the outbox, and says what became of it.
///
/// # Errors
/// When the outbox cannot be used.
pub(in crate::client) fn flush(again: bool, verbose: bool) -> Result<Stuck, OutboxError> {
    let Some(outbox) = Outbox::existing()? else {
        return Ok(Stuck::default());
    };
    send_all(&outbox, again, &mut |event| tell(event, verbose))
}

/// The same, for a command that sends something itself: what is queued goes first, whoever sends it.
///
/// # Errors
/// When the outbox cannot be used.
pub(in crate::client) fn flush_before(verbose: bool) -> Result<Stuck, OutboxError> {
    match Outbox::existing()? {
        Some(outbox) => send_before(&outbox, &mut |event| tell(event, verbose)),
        None => Ok(Stuck::default()),
    }
}

fn tell(event: &Event<'_>, verbose: bool) {
    if verbose || !matches!(event, Event::Sent(_)) {
        view::say(&format!("dropline: {}", said(event)));
    }
}

/// What became of a message, in words.
pub(in crate::client) fn said(event: &Event<'_>) -> String {
    match event {
        Event::Sent(message) => format!(
            "the message to {} that was queued {} is sent",
            message.to,
            view::moment(message.at)
        ),
        Event::Refused(message, why) => format!(
            "the message to {} that was queued {} cannot be sent: {why}; it is kept: see `dropline outbox`",
            message.to,
            view::moment(message.at)
        ),
        Event::Damaged(name) => {
            format!("the file {name} in the outbox is damaged, and cannot be sent")
        }
    }
}

/// A message of the outbox, for programs.
#[derive(Serialize)]
struct Line<'a> {
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

/// Lists what is in the outbox; an empty one is said to be that.
///
/// # Errors
/// When it cannot be read, or nothing can be printed.
pub(in crate::client) fn list(json: bool) -> Result<(), DropError> {
    let items = match Outbox::existing()? {
        Some(outbox) => outbox.items()?,
        None => Vec::new(),
    };
    if items.is_empty() && !json {
        view::say("The outbox is empty.");
    }
    for Item { name, message } in &items {
        let line = match message {
            None => {
                view::say(&format!("dropline: {}", said(&Event::Damaged(name))));
                continue;
            }
            Some(message) if json => view::object(&to_line(message)),
            Some(message) => text(message),
        };
        view::data(&line).map_err(DropError::Output)?;
    }
    Ok(())
}

fn to_line(message: &Queued) -> Line<'_> {
    Line {
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

/// The line of a message: the beginnings of its id and of its text.
fn text(message: &Queued) -> String {
    let id = message.id.to_string();
    let first = message.body.split(|b| *b == b'\n').next();
    let first: String = view::harmless(first.unwrap_or_default())
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
        line.push_str(&format!("\n\t{}", view::harmless(why.as_bytes())));
    }
    line
}

/// Takes the message whose id begins with `id` out of the outbox, and forgets it.
///
/// # Errors
/// When there is not exactly one.
pub(in crate::client) fn drop_message(id: &str) -> Result<(), DropError> {
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
        (_, []) => Err(DropError::NoSuch(id)),
        _ => Err(DropError::Several(found.len(), id)),
    }
}
