//! `droplinectl export`: writes a spool as an archive.

use std::io::{self, BufWriter, Write};

use super::archive::{ArchiveLine, ArchivedMessage, NoOwner};
use super::failure::{Failure, say};
use super::list::registered;
use super::progress::Progress;
use crate::message::escaped_json;
use crate::name::Name;
use crate::store::{Engine, MailboxState, OwnerRecord, StoreError, Survey};
use crate::sys::machine;

/// Prints all users and mailboxes, one JSON object per line.
///
/// # Errors
/// When standard output cannot be written. Mailboxes that are damaged as a whole are skipped and counted as findings.
pub(super) fn export(store: &dyn Engine) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut failed = 0;
    for (name, registered) in registered(store, &mut failed)? {
        let user = name.to_string();
        line(&mut out, &ArchiveLine::User { user, registered })?;
    }
    let machine = machine::tag();
    for (name, record) in store.claims()? {
        line(&mut out, &claim(&name, record, machine.as_ref()))?;
    }
    let names = store.mailboxes()?;
    let mut progress = Progress::new("mailboxes", names.len());
    for name in names {
        progress.step();
        // The line of the mailbox precedes its messages, so get its state before reading them.
        let MailboxState { acked, used } = match state(store, &name) {
            Ok(Some(state)) => state,
            Ok(None) => continue,
            Err(e) => {
                failed += 1;
                say(e);
                continue;
            }
        };
        line(
            &mut out,
            &ArchiveLine::Mailbox {
                mailbox: name.to_string(),
                acked,
                used: Some(used),
            },
        )?;
        let mut written = Ok(());
        store.messages(&name, &mut |message, _| {
            written = line(
                &mut out,
                &ArchiveLine::Message(ArchivedMessage::new(&name, message)),
            );
            written.is_ok()
        })?;
        written?;
    }
    out.flush()?;
    Failure::unless_none(failed)
}

fn claim(name: &Name, record: OwnerRecord, machine: Option<&String>) -> ArchiveLine {
    let (owner, unfinished) = match record {
        OwnerRecord::Complete(owner) => (Some(owner), None),
        OwnerRecord::None | OwnerRecord::Incomplete => (None, Some(NoOwner::Incomplete)),
        OwnerRecord::Damaged => (None, Some(NoOwner::Damaged)),
    };
    let uid = record.uid();
    ArchiveLine::Claim {
        login: name.to_string(),
        claimed: owner.map_or(0, |owner| owner.since),
        uid,
        in_files: owner.is_some_and(|owner| owner.in_files),
        machine: machine.filter(|_| uid.is_some()).cloned(),
        record: unfinished,
    }
}

fn state(store: &dyn Survey, name: &Name) -> Result<Option<MailboxState>, StoreError> {
    store.messages(name, &mut |_, _| false)
}

fn line(out: &mut impl Write, line: &ArchiveLine) -> io::Result<()> {
    // C1 control characters would reach the terminal of an operator.
    writeln!(out, "{}", escaped_json(&serde_json::to_string(line)?))
}
