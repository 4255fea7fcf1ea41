//! `droplinectl export`.

use std::io::{self, BufWriter, Write};

use super::Failure;
use super::archive::{Line, Message};
use super::progress::Progress;
use crate::store::{StoreError, Survey, User, Users};

/// Prints all users and mailboxes, one JSON object a line.
///
/// # Errors
/// When a mailbox is damaged as a whole, or standard output cannot be written.
pub(super) fn export(store: &(impl Survey + Users)) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    for User { name, registered } in store.users()? {
        line(
            &mut out,
            &Line::User {
                user: name.to_string(),
                registered,
            },
        )?;
    }
    let names = store.mailboxes()?;
    let mut progress = Progress::new("mailboxes", names.len());
    for name in names {
        // The line of the mailbox comes first, and says what is known before its messages are read.
        let Some(acked) = acknowledged(store, &name)? else {
            continue;
        };
        line(
            &mut out,
            &Line::Mailbox {
                mailbox: name.to_string(),
                acked,
            },
        )?;
        let mut written = Ok(());
        store.messages(&name, &mut |message, _| {
            written = line(&mut out, &Line::Message(Message::new(&name, message)));
            written.is_ok()
        })?;
        written?;
        progress.step();
    }
    Ok(out.flush()?)
}

fn acknowledged(store: &dyn Survey, name: &crate::name::Name) -> Result<Option<u64>, StoreError> {
    store.messages(name, &mut |_, _| false)
}

fn line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
