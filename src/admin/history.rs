//! `droplinectl history`.

use std::io::{self, BufWriter, Write};

use super::{Failure, time};
use crate::name::Name;
use crate::store::{State, Survey};

/// Prints the messages of `name` that were read and are still kept, oldest first: number, time, sender and
/// message, with its control characters spelt out, so that each is one line.
pub(super) fn print(store: &dyn Survey, name: &Name) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let found = store.messages(name, &mut |message, state| {
        if state == State::Read {
            let time = time::text(Some(message.at));
            let text = one_line(message.body);
            written = writeln!(out, "{}\t{time}\t{}\t{text}", message.seq, message.from);
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
            if c.is_control() {
                text.extend(c.escape_default())
            } else {
                text.push(c)
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}
