//! `dropline count`, `status`, `history`, `who`: looking, and changing nothing.

use serde::Serialize;

use crate::client::cli::Sender;
use crate::client::inbox::Inbox;
use crate::client::link::{Link, LinkError};
use crate::client::note::Note;
use crate::client::view::{self, Printer};
use crate::message::{MessageId, Trust};
use crate::name::Name;

/// Prints how many messages wait for `of`, in the inbox and at the server, and returns it.
///
/// # Errors
/// When the server does not answer, or nothing can be printed.
pub(in crate::client) fn count(link: &Link, of: &Name) -> Result<u64, LinkError> {
    let waiting = waiting(link, of)?;
    view::data(&waiting.to_string()).map_err(LinkError::Printing)?;
    Ok(waiting)
}

/// How many messages wait for `of`, in the inbox and at the server.
///
/// # Errors
/// When the server does not answer.
pub(in crate::client) fn waiting(link: &Link, of: &Name) -> Result<u64, LinkError> {
    let inbox = Inbox::open(of).and_then(|mut inbox| inbox.waiting());
    let here = inbox.map_or(0, |waiting| waiting.len() as u64);
    Ok(link.count(of)? + here)
}

/// Prints what became of message `seq` of `to`, which `me` has sent.
///
/// # Errors
/// When the server does not answer, or does not tell.
pub(in crate::client) fn status(
    link: &Link,
    me: &Name,
    to: &Name,
    seq: u64,
) -> Result<(), LinkError> {
    let fate = link.status(me, to, seq)?;
    let mut line = view::harmless(fate.state.as_bytes());
    if let Some(at) = fate.at {
        let when = if fate.state == "expired" {
            "at"
        } else {
            "accepted"
        };
        line.push_str(&format!("  {when} {}", view::moment(at)));
    }
    view::data(&line).map_err(LinkError::Printing)
}

/// Which messages of the history are wanted.
#[derive(Clone, Debug)]
pub(in crate::client) struct Wanted {
    /// Only from this sender.
    pub(in crate::client) from: Option<Sender>,
    /// Only with these words in them, in any case.
    pub(in crate::client) words: Vec<String>,
    /// How many at most.
    pub(in crate::client) most: usize,
}

impl Wanted {
    fn matches(&self, note: &Note<'_>) -> bool {
        if let Some(from) = &self.from
            && (from.name.as_bytes() != note.from
                || (from.is_claim && note.trust == Some(Trust::Local)))
        {
            return false;
        }
        if self.words.is_empty() {
            return true;
        }
        let text = String::from_utf8_lossy(note.body).to_lowercase();
        self.words
            .iter()
            .all(|word| text.contains(&word.to_lowercase()))
    }
}

/// A message that outlives the connection that it came by.
struct Kept {
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
    wanted: &Wanted,
    mut printer: Printer,
) -> Result<usize, LinkError> {
    let mut kept: Vec<Kept> = Vec::new();
    if wanted.most > 0 {
        link.history(of, &mut |note| {
            if wanted.matches(note) {
                kept.push(Kept {
                    seq: note.seq,
                    id: note.id,
                    from: note.from.to_vec(),
                    trust: note.trust,
                    at: note.at,
                    body: note.body.to_vec(),
                });
            }
            kept.len() < wanted.most
        })?;
    }
    for message in kept.iter().rev() {
        let note = Note {
            seq: message.seq,
            id: message.id,
            from: &message.from,
            trust: message.trust,
            at: message.at,
            body: &message.body,
        };
        printer.note(&note).map_err(LinkError::Printing)?;
    }
    printer.flush().map_err(LinkError::Printing)?;
    Ok(kept.len())
}

/// Somebody who is registered, for programs.
#[derive(Serialize)]
struct PersonLine {
    name: String,
    online: bool,
}

/// Prints who is registered, and who of them is there: those who are there first.
///
/// # Errors
/// When the server does not answer, or does not know; or nothing can be printed.
pub(in crate::client) fn who(link: &Link, me: Option<&Name>, json: bool) -> Result<(), LinkError> {
    let mut people = link.who(me)?;
    people.sort_by_key(|person| !person.online);
    for person in &people {
        let name = person.name.to_string();
        let line = match (json, person.online) {
            (true, online) => view::object(&PersonLine { name, online }),
            (false, true) => format!("{name} (online)"),
            (false, false) => format!("{name} (offline)"),
        };
        view::data(&line).map_err(LinkError::Printing)?;
    }
    if people.is_empty() && !json {
        view::say("Nobody is registered.");
    }
    Ok(())
}
