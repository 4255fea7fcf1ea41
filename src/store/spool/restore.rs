//! Adds the messages of set-aside mailboxes to the mailbox of their name again.
//!
//! A restore copies the mailbox, adds the messages to the copy, and replaces the mailbox by the copy. Each step is
//! durable before the next, so that an interruption loses and repeats no message:
//!
//! 1. Each `released/FILE` is renamed to `released/.FILE.restoring`.
//! 2. The copy, with the flag `restored` in its header, replaces the mailbox.
//! 3. Each `.FILE.restoring` is removed, or cut to its acknowledged messages and renamed back.
//! 4. The flag is cleared.
//!
//! The flag says whether the messages are in the mailbox: [`settle()`] carries out steps 3 and 4, or undoes step 1.

use std::fs::File;
use std::path::PathBuf;

use super::compact::MailboxWriter;
use super::fetch::Handout;
use super::format::header::Header;
use super::format::walk::{Step, Walk};
use super::handle::Spool;
use super::lock::lock;
use super::released::{Released, ReleasedFile};
use super::settle::{self, settle};
use super::survey::each_message;
use super::user_files::owner_record;
use super::{bell, repair, room};
use crate::message::Stored;
use crate::name::Name;
use crate::store::{FormerOwner, OwnerRecord, RestoreTo, Restored, SetAside, StoreError};
use crate::sys::file;

/// Adds the waiting messages of `name` that were set aside to its mailbox, oldest first and with new numbers, if they are
/// for its present owner. Their files keep the acknowledged messages. Damaged files are reported in the log and
/// counted.
///
/// # Errors
/// I/O errors. The messages are then in the mailbox or still set aside.
pub(super) fn restore(spool: &Spool, name: &Name, to: RestoreTo) -> Result<Restored, StoreError> {
    let mut restored = Restored::default();
    if spool.paths.released_if_any()?.is_none() {
        return Ok(restored);
    }
    // A reader that holds the lease may not have acknowledged what it got, and its lease ends with the replaced file.
    let _lease = match Handout::lease_for_care(spool, name) {
        Err(StoreError::Busy) => None,
        lease => lease?,
    };
    let _lock = lock(&spool.paths, name)?;
    let Some(released) = settle(spool, name)? else {
        return Ok(restored);
    };
    let owner = owner_record(spool, name)?;
    let mut sources = Vec::new();
    for file in &released.files {
        match Source::with_waiting(&released, file) {
            Ok(Some((source, waiting))) if is_for(file.from, owner, to) => {
                restored.messages += waiting;
                sources.push(source);
            }
            Ok(Some(_)) => restored.others += 1,
            Ok(None) => {}
            Err(e) => {
                log::error!("{e}");
                restored.unreadable += 1;
            }
        }
    }
    if !sources.is_empty() {
        let added = add(spool, name, owner == OwnerRecord::None, &released, &sources);
        let settled = settle(spool, name);
        added.and(settled.map(drop))?;
        bell::ring(spool, name);
    }
    Ok(restored)
}

/// Returns whether messages that belonged to `from` are for the present owner of the name.
fn is_for(from: FormerOwner, present: OwnerRecord, to: RestoreTo) -> bool {
    match (to, from) {
        // Without a uid, the owner is a socket, or an account that is not known yet.
        (RestoreTo::PresentOwner, _) => matches!(present, OwnerRecord::Complete(_)),
        (RestoreTo::FormerOwner, FormerOwner::None) => present == OwnerRecord::None,
        (RestoreTo::FormerOwner, FormerOwner::Login(former)) => present.uid() == Some(former),
        (RestoreTo::FormerOwner, FormerOwner::Unknown) => false,
    }
}

/// Replaces the mailbox of `name` by a copy that has the waiting messages of `sources` as well: steps 1 and 2.
fn add(
    spool: &Spool,
    name: &Name,
    is_unowned: bool,
    released: &Released,
    sources: &[Source],
) -> Result<(), StoreError> {
    let path = spool.paths.mailbox_path(name);
    let look = |e| StoreError::system("look at", &path)(e);
    let present = settle::header(spool, name)?;
    let mut bytes = sources.iter().map(Source::waiting_bytes).sum();
    if let Some((mailbox, _)) = &present {
        let facts = file::facts(mailbox).map_err(look)?;
        if !facts.writable {
            return Err(StoreError::read_only(path));
        }
        bytes += facts.allocated;
    }
    room::must_have(&spool.paths.mail, &spool.limits, bytes)?;
    released.begin_restores(sources.iter().map(|source| &source.of))?;
    let mut writer = MailboxWriter::begin(spool, name)?;
    let (mut last, mut acked) = (0, 0);
    if let Some((mailbox, header)) = &present {
        let len = file::facts(mailbox).map_err(look)?.len;
        let tail = repair::tail(&spool.paths, name, mailbox, header, len)?;
        writer.copy(mailbox, header)?;
        acked = header.acked_seq;
        // The last record may be damaged and not copied. Its number was given out.
        last = tail.seq.max(acked);
    }
    for source in sources {
        source.copy_waiting(spool, &mut writer, &mut last)?;
    }
    writer.set_restored();
    if is_unowned {
        // These clients had the messages before.
        writer.set_used();
    }
    writer.finish(acked)
}

/// Returns the set-aside mailboxes, sorted by name and time. Damaged ones are only reported in the log.
///
/// # Errors
/// I/O errors.
pub(super) fn list(spool: &Spool) -> Result<Vec<SetAside>, StoreError> {
    let mut all = Vec::new();
    for released in Released::list(spool, None)?.iter() {
        let files = released.files.iter().map(|file| (file, file.file()));
        let restoring = released.restoring.iter();
        for (file, entry) in files.chain(restoring.map(|file| (file, file.restoring()))) {
            match Source::open(released, file, &entry)
                .and_then(|found| found.map_or(Ok(None), Source::summary))
            {
                Ok(found) => all.extend(found),
                Err(e @ StoreError::Damaged { .. }) => log::error!("{e}"),
                Err(e) => return Err(e),
            }
        }
    }
    all.sort_by(|a, b| (&a.name, a.at).cmp(&(&b.name, b.at)));
    Ok(all)
}

/// A set-aside mailbox.
struct Source {
    of: ReleasedFile,
    file: File,
    path: PathBuf,
    header: Header,
    facts: file::Facts,
}

impl Source {
    /// Opens the file `entry` of `released/`; `None` if it does not exist or has no messages. Another process may have
    /// removed it since the listing.
    fn open(
        released: &Released,
        of: &ReleasedFile,
        entry: &str,
    ) -> Result<Option<Self>, StoreError> {
        let path = released.dir.path_of(entry);
        let opened = released.dir.file(entry);
        let Some(file) = opened.map_err(StoreError::system("open", &path))? else {
            return Ok(None);
        };
        let facts = file::facts(&file).map_err(StoreError::system("look at", &path))?;
        let header = repair::header(&file, &path, facts.len)?;
        Ok(header.map(|header| Self {
            of: of.clone(),
            file,
            path,
            header,
            facts,
        }))
    }

    /// Opens a file that has waiting messages. Returns their number as well.
    fn with_waiting(
        released: &Released,
        of: &ReleasedFile,
    ) -> Result<Option<(Self, u64)>, StoreError> {
        let Some(source) = Self::open(released, of, &of.file())? else {
            return Ok(None);
        };
        let (_, waiting) = source.counts()?;
        Ok((waiting > 0).then_some((source, waiting)))
    }

    fn waiting_bytes(&self) -> u64 {
        self.facts.len.saturating_sub(self.header.acked_offset)
    }

    /// Returns the numbers of acknowledged and of waiting messages.
    fn counts(&self) -> Result<(u64, u64), StoreError> {
        let Header {
            epoch,
            kept_offset,
            acked_offset,
            ..
        } = self.header;
        let (mut read, mut waiting) = (0, 0);
        let walk = Walk::new(epoch, kept_offset, self.facts.len);
        each_message(&self.file, &self.path, walk, &mut |offset, _| {
            *if offset < acked_offset {
                &mut read
            } else {
                &mut waiting
            } += 1;
            true
        })?;
        Ok((read, waiting))
    }

    fn summary(self) -> Result<Option<SetAside>, StoreError> {
        let (read, waiting) = self.counts()?;
        let ReleasedFile { name, at, from } = self.of;
        Ok(Some(SetAside {
            name,
            at,
            from,
            waiting,
            read,
            bytes: self.facts.allocated,
        }))
    }

    /// Adds the waiting messages to `writer` with the numbers after `last`. Damaged bytes go to quarantine.
    fn copy_waiting(
        &self,
        spool: &Spool,
        writer: &mut MailboxWriter<'_>,
        last: &mut u64,
    ) -> Result<(), StoreError> {
        let mut walk = Walk::new(self.header.epoch, self.header.acked_offset, self.facts.len);
        loop {
            match walk
                .step(&self.file)
                .map_err(StoreError::system("read", &self.path))?
            {
                Step::Record { .. } => {
                    if let Some(message) = walk.record() {
                        *last += 1;
                        writer.push(
                            &Stored {
                                seq: *last,
                                ..message
                            },
                            false,
                        )?;
                    }
                }
                Step::Bad { offset, end } => {
                    repair::quarantine(&spool.paths, &self.of.file(), &self.file, offset, end)?;
                }
                Step::End => return Ok(()),
            }
        }
    }
}
