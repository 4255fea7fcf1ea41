//! `droplinectl users`, `queue` and `history`: one line per name, mailbox or message.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use super::failure::{Failure, say};
use crate::message::{Trust, is_deceptive};
use crate::name::Name;
use crate::store::{Queue, State, Survey, Users};

/// Prints a line for each name that is registered or has an owner: the name, the time of its registration, and the uid of
/// its owner.
pub(super) fn users(store: &dyn Users) -> Result<(), Failure> {
    let mut names: BTreeMap<Name, (Option<u64>, String)> = BTreeMap::new();
    let mut failed = 0;
    for (name, registered) in registered(store, &mut failed)? {
        names.insert(name, (Some(registered), "-".into()));
    }
    for (name, record) in store.claims()? {
        names.entry(name).or_default().1 = uid_text(record.uid());
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for (name, (registered, uid)) in names {
        writeln!(out, "{name}\t{}\t{uid}", time(registered))?;
    }
    out.flush()?;
    Failure::unless_none(failed)
}

/// Returns the registered names and the times of their registration. Damaged registrations are reported, and counted in
/// `failed`.
pub(super) fn registered(
    store: &dyn Users,
    failed: &mut usize,
) -> Result<Vec<(Name, u64)>, Failure> {
    let mut all = Vec::new();
    for name in store.names()? {
        match store.registered(&name) {
            Ok(Some(at)) => all.push((name, at)),
            // It was deregistered after the listing.
            Ok(None) => {}
            Err(e) => {
                say(e);
                *failed += 1;
            }
        }
    }
    Ok(all)
}

/// Formats the uid of an owner. An unknown one is a question mark.
pub(super) fn uid_text(uid: Option<u32>) -> String {
    uid.map_or_else(|| "?".into(), |uid| uid.to_string())
}

/// Prints a line for each mailbox with waiting messages, or only for that of `name`. Reports damaged mailboxes on
/// standard error and continues.
pub(super) fn queue(store: &dyn Survey, name: Option<&Name>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    if let Some(name) = name {
        let queue = store.queue(name)?;
        let queue = queue.ok_or_else(|| Failure::NoMailbox(name.clone()))?;
        queue_line(&mut out, name, &queue)?;
        return Ok(out.flush()?);
    }
    let mut damaged = 0;
    for name in store.mailboxes()? {
        match store.queue(&name) {
            Ok(Some(queue)) if queue.waiting > 0 => queue_line(&mut out, &name, &queue)?,
            Ok(_) => {}
            Err(e) => {
                damaged += 1;
                say(e);
            }
        }
    }
    out.flush()?;
    Failure::unless_none(damaged)
}

/// Writes the name of a mailbox, its number of waiting messages, their bytes on disk, and the time of the oldest.
fn queue_line(out: &mut impl Write, name: &Name, queue: &Queue) -> io::Result<()> {
    let Queue {
        waiting,
        bytes,
        oldest,
    } = queue;
    writeln!(out, "{name}\t{waiting}\t{bytes}\t{}", time(*oldest))
}

/// Prints the delivered messages of `name` that are still kept, oldest first: number, time, sender (with `~` if it was
/// not verified) and message. Escapes control characters and those that change the writing direction, so that each
/// message is one line.
pub(super) fn history(store: &dyn Survey, name: &Name) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let found = store.messages(name, &mut |message, state| {
        if state == State::Read {
            let time = time(Some(message.at));
            let text = one_line(message.body);
            let mark = match message.trust {
                Trust::Open => "~",
                Trust::Local => "",
            };
            let from = &message.from;
            written = writeln!(out, "{}\t{time}\t{mark}{from}\t{text}", message.seq);
        }
        written.is_ok() && state == State::Read
    })?;
    found.ok_or_else(|| Failure::NoMailbox(name.clone()))?;
    written?;
    Ok(out.flush()?)
}

fn one_line(body: &[u8]) -> String {
    let mut text = String::new();
    for chunk in body.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_deceptive(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// Formats milliseconds since 1970 as RFC 3339 in UTC, with a precision of seconds. `None` is a dash.
pub(super) fn time(millis: Option<u64>) -> String {
    let time = millis
        .and_then(|at| i64::try_from(at).ok())
        .and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    time.map_or_else(|| "-".into(), |time| format!("{time:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_in_one_direction() {
        let text = "a\nb\u{9b}2J\u{202e}txt\u{2028}ü";
        assert_eq!(
            one_line(text.as_bytes()),
            "a\\nb\\u{9b}2J\\u{202e}txt\\u{2028}ü"
        );
        assert_eq!(one_line(b"\x9b"), "\\x9b");
    }
}
