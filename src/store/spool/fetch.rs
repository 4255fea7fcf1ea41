//! Handing out what waits in a mailbox, under a lease.

use std::path::PathBuf;
use std::time::Duration;

use super::append::{lock, sync};
use super::layout::Spool;
use super::mailbox::Header;
use super::walk::{Step, Walk};
use super::{ack, repair};
use crate::message::Stored;
use crate::name::Name;
use crate::store::{StoreError, Waiting};
use crate::sys::clock::unix_millis;
use crate::sys::file;
use crate::sys::lock::Locked;

/// How long a second reader waits for the first before it is told `busy`: somebody who fetches twice in
/// a row must not meet the lease of their own last fetch.
const PATIENCE: Duration = Duration::from_secs(2);

/// The lease on a mailbox, and how far it has been handed out.
#[derive(Debug)]
pub(super) struct Lease<'s> {
    pub(super) spool: &'s Spool,
    pub(super) name: Name,
    pub(super) path: PathBuf,
    /// The mailbox, open, and its lock: the lease itself.
    pub(super) mailbox: Locked,
    pub(super) epoch: u32,
    /// Where the mailbox ended when it was leased.
    pub(super) end: u64,
    walk: Walk,
    now: u64,
    /// Number and end of the last message that was handed out.
    pub(super) last: Option<(u64, u64)>,
}

impl<'s> Lease<'s> {
    /// Leases the mailbox of `name`; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another reader has it; damage; those of the system.
    pub(super) fn take(spool: &'s Spool, name: &Name) -> Result<Option<Self>, StoreError> {
        let place = Spool::place(name);
        let path = spool.mail().path_of(&place);
        let mailbox = loop {
            // A descriptor of our own, opened after the fork: its lock is ours alone.
            let opened = spool.mail().file(&place);
            let Some(file) = opened.map_err(StoreError::system("open", &path))? else {
                return Ok(None);
            };
            let mailbox = Locked::within(file, PATIENCE)
                .map_err(StoreError::system("lock", &path))?
                .map_err(|_| StoreError::Busy)?;
            let facts = file::facts(mailbox.file());
            // It may have been copied, and replaced, while we waited.
            if facts.map_err(StoreError::system("look at", &path))?.named {
                break mailbox;
            }
        };
        let Some((header, end)) = snapshot(spool, name, &mailbox, &path)? else {
            return Ok(None);
        };
        if end > header.acked_offset {
            make_durable(spool, name, &mailbox, &path, header.named)?;
        }
        Ok(Some(Self {
            spool,
            name: name.clone(),
            path,
            mailbox,
            epoch: header.epoch,
            end,
            walk: Walk::new(header.epoch, header.acked_offset, end),
            now: unix_millis(),
            last: None,
        }))
    }
}

impl Lease<'_> {
    /// Keeps what is damaged, before the messages behind it are acknowledged, and it is history.
    fn pass_over(&self, offset: u64, end: u64) {
        log::error!(
            "mailbox {} is damaged: bytes {offset} to {end} are no message, and go to quarantine",
            self.path.display()
        );
        let file = self.mailbox.file();
        if let Err(e) = repair::quarantine(self.spool, &self.name, file, offset, end) {
            log::error!("cannot put them there: {e}");
        }
    }
}

/// The header and the length of a mailbox at a moment when nobody appends; `None` when it has no message
/// yet, because its first write was cut off.
fn snapshot(
    spool: &Spool,
    name: &Name,
    mailbox: &Locked,
    path: &std::path::Path,
) -> Result<Option<(Header, u64)>, StoreError> {
    let _lock = lock(spool, name)?;
    let file = mailbox.file();
    let len = file::facts(file)
        .map_err(StoreError::system("look at", path))?
        .len;
    Ok(repair::header(file, path, len)?.map(|header| (header, len)))
}

/// Nobody is shown a message, or its number, that a crash could still take back: what has been appended
/// and not yet synced by its writer is synced by its reader.
fn make_durable(
    spool: &Spool,
    name: &Name,
    mailbox: &Locked,
    path: &std::path::Path,
    named: bool,
) -> Result<(), StoreError> {
    let facts = file::facts(mailbox.file()).map_err(StoreError::system("look at", path))?;
    if !facts.writable {
        // The disk has failed before, and no sync can be believed any more.
        return Ok(());
    }
    sync(mailbox.file(), path)?;
    if !named {
        let folder = spool.folder(name)?;
        folder
            .sync()
            .map_err(StoreError::system("sync", folder.path()))?;
    }
    Ok(())
}

impl Waiting for Lease<'_> {
    fn next(&mut self) -> Result<Option<Stored<'_>>, StoreError> {
        loop {
            let step = self.walk.step(self.mailbox.file());
            match step.map_err(StoreError::system("read", &self.path))? {
                Step::Record { end, seq, .. } => {
                    let now = self.now;
                    let expired = |m: &Stored<'_>| m.expires.is_some_and(|at| at <= now);
                    if self.walk.record().is_some_and(|message| !expired(&message)) {
                        self.last = Some((seq, end));
                        break;
                    }
                }
                Step::Bad { offset, end } => self.pass_over(offset, end),
                Step::End => return Ok(None),
            }
        }
        Ok(self.walk.record())
    }

    fn acknowledge(&mut self, seq: u64) -> Result<(), StoreError> {
        ack::acknowledge(self, seq)
    }
}
