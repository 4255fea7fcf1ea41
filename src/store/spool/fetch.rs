//! Reads the waiting messages of a mailbox, with or without a lease.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::format::end;
use super::format::header::Header;
use super::format::walk::{Step, Walk};
use super::handle::Spool;
use super::lock::lock;
use super::mailbox::sync;
use super::{repair, used};
use crate::message::Stored;
use crate::name::Name;
use crate::store::{Reading, StoreError};
use crate::sys::clock::unix_millis;
use crate::sys::file;
use crate::sys::lock::Locked;

/// How long a reader waits for the lease before it gets `busy`. A client that fetches twice in a row must not be
/// refused because of its own previous lease.
const LEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Largest queue, in bytes, whose messages are counted one by one.
const COUNTED: u64 = 1 << 20;

/// A mailbox that is being read, and the read position.
#[derive(Debug)]
pub(super) struct Handout<'s> {
    pub(super) spool: &'s Spool,
    pub(super) name: Name,
    pub(super) path: PathBuf,
    mailbox: Mailbox,
    by: By,
    pub(super) epoch: u32,
    /// Where the mailbox ended when it was opened or last refreshed.
    pub(super) end: u64,
    header: Header,
    walk: Walk,
    now: u64,
    /// Number and end of the last message that was returned.
    pub(super) last: Option<(u64, u64)>,
}

/// An open mailbox.
#[derive(Debug)]
enum Mailbox {
    /// Locked: the file lock is the lease.
    Leased(Locked),
    /// Not locked: only for peeking.
    Open(File),
}

impl Mailbox {
    fn file(&self) -> &File {
        match self {
            Self::Leased(locked) => locked.file(),
            Self::Open(file) => file,
        }
    }
}

/// Who reads a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// A client of a name that had an owner or not, which is looked up.
    Client,
    /// A client of a name that had an owner, who may have lost it since.
    Owner,
    Operator,
}

/// Takes the lease of a mailbox.
fn hold_lease(file: File, path: &Path) -> Result<Mailbox, StoreError> {
    let locked = Locked::within(file, LEASE_TIMEOUT).map_err(StoreError::system("lock", path))?;
    locked.map(Mailbox::Leased).map_err(|_| StoreError::Busy)
}

impl<'s> Handout<'s> {
    /// Leases the mailbox of `name` for a client. Returns `None` if it does not exist or has no header yet.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another reader has the lease; [`StoreError::Damaged`]; I/O errors.
    pub(super) fn lease(spool: &'s Spool, name: &Name) -> Result<Option<Self>, StoreError> {
        Self::open(spool, name, By::Client, hold_lease)
    }

    /// Like [`lease`](Self::lease), for maintenance.
    pub(super) fn lease_for_care(
        spool: &'s Spool,
        name: &Name,
    ) -> Result<Option<Self>, StoreError> {
        Self::open(spool, name, By::Operator, hold_lease)
    }

    /// Opens the mailbox of `name` without a lease, for a client. Returns `None` if it does not exist or has no header yet.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]; I/O errors.
    pub(super) fn peek(spool: &'s Spool, name: &Name) -> Result<Option<Self>, StoreError> {
        Self::open(spool, name, By::Client, |file, _| Ok(Mailbox::Open(file)))
    }

    fn open(
        spool: &'s Spool,
        name: &Name,
        mut by: By,
        hold: impl Fn(File, &Path) -> Result<Mailbox, StoreError>,
    ) -> Result<Option<Self>, StoreError> {
        let path = spool.paths.mailbox_path(name);
        let mailbox = loop {
            // Opened after the fork, so that no other process shares the lock; see flock(2).
            let Some(file) = spool.paths.mailbox(name)? else {
                return Ok(None);
            };
            let mailbox = hold(file, &path)?;
            let facts = file::facts(mailbox.file());
            // The mailbox may have been replaced by a copy while this process waited.
            if facts.map_err(StoreError::system("look at", &path))?.named {
                break mailbox;
            }
        };
        let Some((header, end)) = snapshot(spool, name, mailbox.file(), &path)? else {
            return Ok(None);
        };
        // Before the sync below, which also makes this durable.
        if by == By::Client && used::note_reader(spool, name, mailbox.file(), &header)? {
            by = By::Owner;
        }
        if end > header.acked_offset {
            make_durable(spool, name, mailbox.file(), &path, header.named)?;
        }
        Ok(Some(Self {
            spool,
            name: name.clone(),
            path,
            mailbox,
            by,
            epoch: header.epoch,
            end,
            walk: Walk::new(header.epoch, header.acked_offset, end),
            header,
            now: unix_millis(),
            last: None,
        }))
    }

    /// Returns the open mailbox.
    pub(super) fn file(&self) -> &File {
        self.mailbox.file()
    }

    /// Copies a damaged region to quarantine if this process has the lease: an acknowledgement of the messages that
    /// follow makes the region history, which is removed later.
    fn pass_over(&self, offset: u64, end: u64) {
        if matches!(self.mailbox, Mailbox::Open(_)) {
            return;
        }
        log::error!(
            "mailbox {} is damaged: bytes {offset} to {end} contain no valid message and go to quarantine",
            self.path.display()
        );
        let (paths, name) = (&self.spool.paths, self.name.as_str());
        if let Err(e) = repair::quarantine(paths, name, self.file(), offset, end) {
            log::error!("cannot copy these bytes to quarantine: {e}");
        }
    }

    /// Continues with messages that have arrived since the mailbox was opened or last refreshed.
    pub(super) fn refresh(&mut self) -> Result<(), StoreError> {
        let facts = file::facts(self.file()).map_err(StoreError::system("look at", &self.path))?;
        if !facts.named {
            return self.replaced();
        }
        let found = snapshot(self.spool, &self.name, self.file(), &self.path)?;
        let Some((header, end)) = found.filter(|(_, end)| *end > self.end) else {
            return Ok(());
        };
        make_durable(
            self.spool,
            &self.name,
            self.mailbox.file(),
            &self.path,
            header.named,
        )?;
        self.walk = self.walk.up_to(end);
        (self.header, self.end, self.now) = (header, end, unix_millis());
        Ok(())
    }

    /// Leases the file that has replaced this mailbox, and continues after the last message that was returned.
    fn replaced(&mut self) -> Result<(), StoreError> {
        // A former owner that continues to read after a release is no client of the name without an owner.
        let Some(mut again) = Self::open(self.spool, &self.name, self.by, hold_lease)? else {
            return Ok(());
        };
        if let Some((last, _)) = self.last {
            loop {
                let step = again.walk.step(again.mailbox.file());
                match step.map_err(StoreError::system("read", &again.path))? {
                    Step::Record { seq, end, .. } if seq <= last => {
                        again.last = Some((seq, end));
                    }
                    Step::Record { offset, .. } => {
                        again.walk = Walk::new(again.epoch, offset, again.end);
                        break;
                    }
                    Step::Bad { .. } => {}
                    Step::End => break,
                }
            }
        }
        *self = again;
        Ok(())
    }
}

/// Reads header and end of a mailbox under its lock. Returns `None` if it has no header because its first write was
/// interrupted.
fn snapshot(
    spool: &Spool,
    name: &Name,
    file: &File,
    path: &Path,
) -> Result<Option<(Header, u64)>, StoreError> {
    let _lock = lock(&spool.paths, name)?;
    let len = file::facts(file)
        .map_err(StoreError::system("look at", path))?
        .len;
    let Some(header) = repair::header(file, path, len)? else {
        return Ok(None);
    };
    let end = end::find(file, &header, len).map_err(StoreError::system("read", path))?;
    Ok(Some((header, end.offset)))
}

/// Syncs messages that their writers have not synced yet. A reader must not see a message, or its number, that a crash
/// could still remove.
fn make_durable(
    spool: &Spool,
    name: &Name,
    file: &File,
    path: &Path,
    named: bool,
) -> Result<(), StoreError> {
    let facts = file::facts(file).map_err(StoreError::system("look at", path))?;
    if !facts.writable {
        // The disk has failed before, so a successful sync would prove nothing.
        return Ok(());
    }
    sync(file, path)?;
    if !named {
        spool.sync_name(name)?;
    }
    Ok(())
}

impl Reading for Handout<'_> {
    fn next(&mut self) -> Result<Option<Stored<'_>>, StoreError> {
        loop {
            let step = self.walk.step(self.mailbox.file());
            match step.map_err(StoreError::system("read", &self.path))? {
                Step::Record { end, seq, .. } => {
                    if !is_over(self.walk.expires(), self.now) {
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

    fn waiting(&self) -> Result<u64, StoreError> {
        let read = |e| StoreError::system("read", &self.path)(e);
        let first = self.header.acked_offset;
        if self.end.saturating_sub(first) > COUNTED {
            let last = end::last_seq(self.file(), &self.header, self.end).map_err(read)?;
            return Ok(last.map_or(0, |last| last.saturating_sub(self.header.acked_seq)));
        }
        let mut count = 0;
        let mut walk = Walk::new(self.epoch, first, self.end);
        loop {
            match walk.step(self.file()).map_err(read)? {
                Step::Record { .. } => {
                    count += u64::from(!is_over(walk.expires(), self.now));
                }
                Step::Bad { .. } => {}
                Step::End => return Ok(count),
            }
        }
    }
}

fn is_over(expires: Option<u64>, now: u64) -> bool {
    expires.is_some_and(|at| at <= now)
}
