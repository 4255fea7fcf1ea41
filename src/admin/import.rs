//! `droplinectl import`: reads an archive into a spool.

use std::io::{self, BufRead};

use super::archive::{ArchiveLine, NoOwner};
use super::failure::Failure;
use super::progress::Progress;
use crate::message::{Fields, LARGEST_MAX_BODY, Stored};
use crate::name::Name;
use crate::store::{Engine, MailboxState, Owner, OwnerRecord, Restoring, StoreError};
use crate::sys::login::LoginTable;
use crate::sys::machine;

/// Limits a line, in bytes: the largest body with every byte escaped, all fields, and the rest of the object.
const LONGEST_LINE: usize = LARGEST_MAX_BODY * 6 + Fields::MOST_BYTES * 2 + 1_024;

/// Imports mailboxes from `input` into a store that has none of them. With `missing`, skips those that the store has.
///
/// # Errors
/// The first invalid line. The mailbox of that line does not exist then; earlier mailboxes are complete.
pub(super) fn import(
    store: &dyn Engine,
    input: impl BufRead,
    missing: bool,
) -> Result<(), Failure> {
    let mut lines = Lines {
        input,
        number: 0,
        ahead: None,
        progress: Progress::new("lines", 0),
    };
    let this_machine = machine::tag();
    let logins = LoginTable::of_this_machine().map_err(Failure::Logins)?;
    while let Some(line) = lines.next()? {
        let number = lines.number;
        let name = |text: &str| -> Result<Name, Failure> {
            text.parse()
                .map_err(|e| Failure::NoExport(number, format!("{text:?}: {e}")))
        };
        let store_error = |number| move |e| Failure::NotImported(number, e);
        let (name, state) = match line {
            ArchiveLine::Mailbox {
                mailbox,
                acked,
                used,
            } => {
                // Without the field, acknowledged messages show the use.
                let used = used.unwrap_or(acked > 0);
                (name(&mailbox)?, MailboxState { acked, used })
            }
            ArchiveLine::User { user, registered } => {
                store
                    .register(&name(&user)?, registered, &|| true)
                    .map_err(store_error(number))?;
                continue;
            }
            ArchiveLine::Claim {
                login,
                claimed,
                uid,
                in_files,
                machine,
                record,
            } => {
                let name = name(&login)?;
                let is_here = machine.is_some() && machine == this_machine;
                // The user IDs of another machine mean nothing here. On the same one, a later account of the name must
                // not get the messages of the owner.
                let uid = if is_here { uid } else { logins.uid_of(&login) };
                let record = match record {
                    Some(NoOwner::Incomplete) => OwnerRecord::Incomplete,
                    Some(NoOwner::Damaged) => OwnerRecord::Damaged,
                    None => OwnerRecord::Complete(Owner {
                        uid,
                        since: claimed,
                        in_files: if is_here { in_files } else { uid.is_some() },
                    }),
                };
                store
                    .restore_claim(&name, record)
                    .map_err(store_error(number))?;
                continue;
            }
            ArchiveLine::Message(_) => {
                let what = "a message before the line of its mailbox";
                return Err(Failure::NoExport(number, what.into()));
            }
        };
        let mut restoring = match store.restore(&name, state) {
            Err(StoreError::Exists(_)) if missing => {
                lines.messages(&name, &mut PassedOver)?;
                continue;
            }
            restoring => restoring.map_err(store_error(number))?,
        };
        lines.messages(&name, restoring.as_mut())?;
        restoring.finish().map_err(store_error(number))?;
    }
    Ok(())
}

/// Discards the messages of a mailbox that exists.
struct PassedOver;

impl Restoring for PassedOver {
    fn push(&mut self, _: &Stored<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

struct Lines<R> {
    input: R,
    number: usize,
    /// A line that was read and is not a message: the beginning of the next mailbox, for example.
    ahead: Option<ArchiveLine>,
    progress: Progress,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<ArchiveLine>, Failure> {
        if let Some(line) = self.ahead.take() {
            return Ok(Some(line));
        }
        self.number += 1;
        let mut text = Vec::new();
        let mut limited = io::Read::take(&mut self.input, LONGEST_LINE as u64);
        let n = limited
            .read_until(b'\n', &mut text)
            .map_err(|e| Failure::Input(self.number, e))?;
        if n == 0 {
            return Ok(None);
        }
        self.progress.step();
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|e| Failure::NoExport(self.number, e.to_string()))
    }

    /// Passes the messages of a mailbox to `restoring`, until a line is not a message.
    fn messages(&mut self, of: &Name, restoring: &mut dyn Restoring) -> Result<(), Failure> {
        let mut body = Vec::new();
        loop {
            let message = match self.next()? {
                Some(ArchiveLine::Message(message)) => message,
                other => {
                    self.ahead = other;
                    return Ok(());
                }
            };
            let stored = message
                .stored(of, &mut body)
                .map_err(|e| Failure::NoExport(self.number, e))?;
            restoring
                .push(&stored)
                .map_err(|e| Failure::NotImported(self.number, e))?;
        }
    }
}
