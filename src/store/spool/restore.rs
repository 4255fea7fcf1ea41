//! Adds the messages of a set-aside mailbox to the mailbox of its name again.
//!
//! A restore copies the mailbox, adds the messages to the copy, and puts the copy in place, so that all messages appear in
//! one step. These steps, each durable before the next, neither lose nor repeat a message if they are interrupted:
//!
//! 1. `released/FILE` is renamed to `released/.FILE.restoring`.
//! 2. The copy, with the flag `restored` in its header, replaces the mailbox.
//! 3. `.FILE.restoring` is removed.
//! 4. The flag is cleared.
//!
//! After an interruption, the flag says whether the messages are in the mailbox: [`settle`] completes steps 3 and 4, or
//! undoes step 1.

use std::fs::File;

use super::compact::MailboxWriter;
use super::format::header::Header;
use super::format::user::OwnerRecord;
use super::format::walk::{Step, Walk};
use super::handle::Spool;
use super::lock::lock;
use super::mailbox::sync;
use super::released::{Released, ReleasedFile};
use super::user_files::owner_record;
use super::{bell, repair};
use crate::message::Stored;
use crate::name::Name;
use crate::store::{FormerOwner, RestoreTo, Restored, SetAside, StoreError};
use crate::sys::file;

/// Adds the waiting messages of `name` that were set aside to its mailbox, oldest first and with new numbers, if they are
/// for its present owner. A file that has such messages is removed.
///
/// # Errors
/// I/O errors. The messages are then in the mailbox or still set aside.
pub(super) fn restore(spool: &Spool, name: &Name, to: RestoreTo) -> Result<Restored, StoreError> {
    let mut restored = Restored::default();
    if spool.paths.released_if_any()?.is_none() {
        return Ok(restored);
    }
    let _lock = lock(&spool.paths, name)?;
    settle(spool, name)?;
    let owner = owner_record(spool, name)?;
    let released = Released::list(spool, Some(name))?;
    for released in released.iter() {
        for file in &released.files {
            if is_for(file.from, owner, to) {
                restored.messages += restore_file(spool, released, file)?;
            } else {
                restored.others += 1;
            }
        }
    }
    if restored.messages > 0 {
        bell::ring(spool, name);
    }
    Ok(restored)
}

/// Returns whether messages that belonged to `from` are for the present owner of the name.
fn is_for(from: FormerOwner, present: OwnerRecord, to: RestoreTo) -> bool {
    let uid = match present {
        OwnerRecord::None => None,
        OwnerRecord::Complete(owner) if owner.uid.is_some() => owner.uid,
        // The owner is not known.
        OwnerRecord::Complete(_) | OwnerRecord::Incomplete | OwnerRecord::Damaged => return false,
    };
    match (to, from) {
        (RestoreTo::PresentOwner, _) => uid.is_some(),
        (RestoreTo::FormerOwner, FormerOwner::None) => uid.is_none(),
        (RestoreTo::FormerOwner, FormerOwner::Login(former)) => uid == Some(former),
        (RestoreTo::FormerOwner, FormerOwner::Unknown) => false,
    }
}

/// Restores one file, if it has waiting messages. Returns their number.
fn restore_file(
    spool: &Spool,
    released: &Released,
    file: &ReleasedFile,
) -> Result<u64, StoreError> {
    let Some(source) = Source::open(released, &file.file())? else {
        return Ok(0);
    };
    if source.counts()?.waiting == 0 {
        return Ok(0);
    }
    rename(released, &file.file(), &file.restoring())?;
    let count = append(spool, &file.name, &source).inspect_err(|_| {
        // If this fails as well, the next restore repeats it.
        let _ = settle(spool, &file.name);
    })?;
    released.remove(&file.restoring())?;
    clear_flag(spool, &file.name)?;
    Ok(count)
}

fn rename(released: &Released, from: &str, to: &str) -> Result<(), StoreError> {
    let dir = &released.dir;
    let renamed = dir.rename(from, to).and_then(|()| dir.sync());
    renamed.map_err(StoreError::system("rename", dir.path_of(from)))
}

/// Completes or undoes a restore of the messages of `name` that was interrupted, and removes the copy of a mailbox that was
/// made and not yet emptied. The lock of the mailbox must be held.
///
/// # Errors
/// I/O errors.
pub(super) fn settle(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    let present = header(spool, name)?.map(|(_, header)| header);
    let is_restored = present.is_some_and(|present| present.restored);
    if is_restored {
        // The interrupted process may not have made its mailbox durable.
        spool.sync_name(name)?;
    }
    for released in Released::list(spool, Some(name))?.iter() {
        for file in &released.files {
            let copied = released.header(file)?;
            let both = copied.zip(present);
            if both.is_some_and(|(copied, present)| copied.epoch == present.epoch) {
                released.remove(&file.file())?;
            }
        }
        for file in &released.restoring {
            if is_restored {
                released.remove(&file.restoring())?;
            } else {
                rename(released, &file.restoring(), &file.file())?;
            }
        }
    }
    clear_flag(spool, name)
}

/// Completes or undoes all restores that were interrupted.
///
/// # Errors
/// I/O errors.
pub(super) fn settle_all(spool: &Spool) -> Result<(), StoreError> {
    for released in Released::list(spool, None)?.iter() {
        for file in &released.restoring {
            let _lock = lock(&spool.paths, &file.name)?;
            settle(spool, &file.name)?;
        }
    }
    Ok(())
}

/// Opens the mailbox of `name` and reads its header; `None` if it does not exist or has no messages.
fn header(spool: &Spool, name: &Name) -> Result<Option<(File, Header)>, StoreError> {
    let path = spool.paths.mailbox_path(name);
    let Some(file) = spool.paths.mailbox(name)? else {
        return Ok(None);
    };
    let facts = file::facts(&file).map_err(StoreError::system("look at", &path))?;
    let header = repair::header(&file, &path, facts.len)?;
    Ok(header.map(|header| (file, header)))
}

/// Durably clears the flag `restored` in the mailbox of `name`.
fn clear_flag(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    let Some((file, header)) = header(spool, name)?.filter(|(_, header)| header.restored) else {
        return Ok(());
    };
    let path = spool.paths.mailbox_path(name);
    let header = Header {
        restored: false,
        ..header
    };
    header
        .write_next(&file)
        .map_err(StoreError::system("write", &path))?;
    sync(&file, &path)
}

/// Replaces the mailbox of `name` by a copy that has the waiting messages of `source` as well. Returns their number.
fn append(spool: &Spool, name: &Name, source: &Source) -> Result<u64, StoreError> {
    let mut writer = MailboxWriter::begin(spool, name)?;
    let mut acked = 0;
    if let Some((old, header)) = header(spool, name)? {
        let path = spool.paths.mailbox_path(name);
        let facts = file::facts(&old).map_err(StoreError::system("look at", &path))?;
        if !facts.writable {
            return Err(StoreError::read_only(path));
        }
        repair::tail(&spool.paths, name, &old, &header, facts.len)?;
        writer.copy(&old, &header)?;
        acked = header.acked_seq;
    }
    writer.set_restored();
    let (mut last, mut count) = (writer.last().max(acked), 0);
    source.each_waiting(|message| {
        last += 1;
        count += 1;
        writer.push(
            &Stored {
                seq: last,
                ..message
            },
            false,
        )
    })?;
    writer.finish(acked)?;
    Ok(count)
}

/// Returns the set-aside mailboxes, sorted by name and time. Damaged ones are only reported in the log.
///
/// # Errors
/// I/O errors.
pub(super) fn list(spool: &Spool) -> Result<Vec<SetAside>, StoreError> {
    let mut all = Vec::new();
    for released in Released::list(spool, None)?.iter() {
        for file in &released.files {
            let source = match Source::open(released, &file.file()) {
                Ok(Some(source)) => source,
                // Another process may have removed it since the listing.
                Ok(None) => continue,
                Err(e @ StoreError::Damaged { .. }) => {
                    log::error!("{e}");
                    continue;
                }
                Err(e) => return Err(e),
            };
            let Counts { waiting, read } = source.counts()?;
            all.push(SetAside {
                name: file.name.clone(),
                at: file.at,
                from: file.from,
                waiting,
                read,
                bytes: source.len,
            });
        }
    }
    Ok(all)
}

/// A set-aside mailbox.
struct Source {
    file: File,
    path: std::path::PathBuf,
    /// Its length in bytes.
    len: u64,
    header: Header,
}

/// The numbers of messages in a set-aside mailbox.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    waiting: u64,
    read: u64,
}

impl Source {
    /// Opens a file of `released/`; `None` if it does not exist or has no messages.
    fn open(released: &Released, file: &str) -> Result<Option<Self>, StoreError> {
        let path = released.dir.path_of(file);
        let opened = released.dir.file(file);
        let Some(file) = opened.map_err(StoreError::system("open", &path))? else {
            return Ok(None);
        };
        let len = file::facts(&file).map_err(StoreError::system("look at", &path))?;
        let len = len.len;
        let header = repair::header(&file, &path, len)?;
        Ok(header.map(|header| Self {
            file,
            path,
            len,
            header,
        }))
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        self.each(self.header.kept_offset, |offset, _| {
            if offset < self.header.acked_offset {
                counts.read += 1;
            } else {
                counts.waiting += 1;
            }
            Ok(())
        })?;
        Ok(counts)
    }

    fn each_waiting(
        &self,
        mut each: impl FnMut(Stored<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.each(self.header.acked_offset, |_, message| each(message))
    }

    /// Calls `each` with the valid messages from the offset `from` on, and their offsets.
    fn each(
        &self,
        from: u64,
        mut each: impl FnMut(u64, Stored<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut walk = Walk::new(self.header.epoch, from, self.len);
        loop {
            let step = walk.step(&self.file);
            match step.map_err(StoreError::system("read", &self.path))? {
                Step::Record { offset, .. } => {
                    if let Some(message) = walk.record() {
                        each(offset, message)?;
                    }
                }
                Step::Bad { .. } => {}
                Step::End => return Ok(()),
            }
        }
    }
}
