//! Rewrites a mailbox as a new file that contains only valid records.
//!
//! Used by repair and restore, and to free space where the file system cannot punch holes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::format::end;
use super::format::header::{Header, RECORDS};
use super::format::record;
use super::format::walk::{Step, Walk};
use super::handle::Spool;
use super::ids::{self, Copied, Remembered};
use super::lock::lock;
use super::paths::folder;
use super::repair;
use super::settle::settle;
use crate::message::{Draft, Stored};
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file;
use crate::sys::random;

/// Largest message number that a repaired or restored mailbox may have. Appends never reach it.
pub(super) const LARGEST_SEQ: u64 = 1 << 62;
/// Bytes buffered before each write.
const PORTION: usize = 256 * 1024;

/// Replaces the mailbox of `name`, which is open as `old` and has these boundaries in its `header`, by a copy of its
/// valid records. The caller holds the lease of the mailbox or uses the spool alone. Does nothing if the mailbox was
/// replaced already.
///
/// # Errors
/// I/O errors. The old mailbox or the complete copy is in place then.
pub(super) fn compact(
    spool: &Spool,
    name: &Name,
    old: &File,
    header: &Header,
) -> Result<(), StoreError> {
    let _lock = lock(&spool.paths, name)?;
    let path = spool.paths.mailbox_path(name);
    let facts = file::facts(old).map_err(StoreError::system("look at", &path))?;
    if !facts.named {
        return Ok(());
    }
    let read = |e| StoreError::system("read", &path)(e);
    if Header::read(old).map_err(read)?.is_some() {
        // The copy has another epoch, by which an interrupted change of owner would not know the mailbox.
        match settle(spool, name) {
            // All is settled, and the copy keeps the flag that shows this.
            Err(StoreError::ReadOnly(_)) => {}
            settled => drop(settled?),
        }
    }
    // Other processes may have set flags since the caller has read the header.
    let flags = Header::read(old).map_err(read)?.unwrap_or(*header);
    let mut writer = MailboxWriter::begin(spool, name)?;
    writer.copy(old, &header.with_flags_of(&flags))?;
    // The last record may be damaged and not copied. If no message waits behind it, its number stays given out.
    let end = end::find(old, header, facts.len).map_err(read)?;
    let last = end.seq.filter(|_| !writer.has_waiting());
    writer.finish(header.acked_seq.max(last.unwrap_or(0)))
}

/// Writes a new mailbox under a temporary name, so that no other process sees it before it is complete.
#[derive(Debug)]
pub(super) struct MailboxWriter<'s> {
    spool: &'s Spool,
    name: Name,
    file: File,
    header: Header,
    bytes: Vec<u8>,
    /// The file offset of `bytes`.
    offset: u64,
    kept: bool,
    last: u64,
    copied: Copied,
    /// The epoch of the mailbox whose records were added.
    old: Option<u32>,
    is_in_place: bool,
}

impl<'s> MailboxWriter<'s> {
    /// Starts a mailbox for `name`. Overwrites the temporary file of an earlier attempt.
    pub(super) fn begin(spool: &'s Spool, name: &Name) -> Result<Self, StoreError> {
        let path = temporary_path(spool, name);
        // Create the lock file now: on a full disk the mailbox must be readable without creating one.
        drop(spool.paths.lock_file(name)?);
        let folder = spool.paths.mailbox_folder(name)?;
        let mut epoch = [0; 4];
        let file = folder
            .file_or_new(&temporary_name(name))
            .and_then(|file| file::truncate(&file, 0).map(|()| file))
            .and_then(|file| random::fill(&mut epoch).map(|()| file))
            .map_err(StoreError::system("make", &path))?;
        let header = Header::new(u32::from_le_bytes(epoch));
        Ok(Self {
            spool,
            name: name.clone(),
            file,
            header,
            bytes: Vec::with_capacity(PORTION),
            offset: RECORDS,
            kept: false,
            last: 0,
            copied: Copied::default(),
            old: None,
            is_in_place: false,
        })
    }

    /// Adds the valid records of the mailbox `old`, which has this `header`, and takes over its flags, after
    /// [`settle`]. Damaged bytes go to quarantine, unless they are forgotten. The caller holds the lock of the mailbox.
    ///
    /// # Errors
    /// [`StoreError::Order`]; I/O errors.
    pub(super) fn copy(&mut self, old: &File, header: &Header) -> Result<(), StoreError> {
        let path = self.spool.paths.mailbox_path(&self.name);
        let read = |e| StoreError::system("read", &path)(e);
        self.header.other_flags = header.other_flags;
        self.header.restored = header.restored;
        self.header.used_unowned = header.used_unowned;
        self.old = Some(header.epoch);
        let len = file::facts(old).map_err(read)?.len;
        let end = end::find(old, header, len).map_err(read)?.offset;
        let mut walk = Walk::new(header.epoch, header.ids_offset, end);
        loop {
            match walk.step(old).map_err(read)? {
                Step::Record { offset, .. } => {
                    if offset >= header.kept_offset {
                        self.kept_from_here();
                    }
                    if let Some(message) = walk.record() {
                        self.push(&message, offset < header.acked_offset)?;
                    }
                }
                Step::Bad { offset, end } if end > header.kept_offset => {
                    let from = offset.max(header.kept_offset);
                    let label = self.name.as_str();
                    repair::quarantine(&self.spool.paths, label, old, from, end)?;
                }
                Step::Bad { .. } => {}
                Step::End => break,
            }
        }
        self.kept_from_here();
        Ok(())
    }

    /// Records that clients have used the mailbox.
    pub(super) fn set_used(&mut self) {
        self.header.used_unowned = true;
    }

    /// Records that a restore has added messages to the mailbox.
    pub(super) fn set_restored(&mut self) {
        self.header.restored = true;
    }

    /// Returns whether a message was added that is not acknowledged.
    fn has_waiting(&self) -> bool {
        self.header.acked_offset != self.end()
    }

    /// Sets the kept boundary here, once. Only the ids of earlier messages count, and later messages must be whole.
    pub(super) fn kept_from_here(&mut self) {
        if !self.kept {
            self.kept = true;
            self.header.kept_offset = self.end();
            self.header.kept_seq = self.last;
        }
    }

    /// Adds a message. Numbers must rise, and acknowledged messages must precede waiting ones.
    ///
    /// # Errors
    /// [`StoreError::Order`]; I/O errors.
    pub(super) fn push(
        &mut self,
        message: &Stored<'_>,
        acknowledged: bool,
    ) -> Result<(), StoreError> {
        let late = acknowledged && self.has_waiting();
        if message.seq <= self.last || message.seq > LARGEST_SEQ || late {
            return Err(StoreError::Order {
                seq: message.seq,
                last: self.last,
            });
        }
        let draft = Draft {
            id: message.id,
            from: &message.from,
            trust: message.trust,
            at: message.at,
            expires: message.expires,
            once: message.once,
            body: message.body,
            fields: message.fields,
        };
        let offset = self.end();
        record::encode(
            &mut self.bytes,
            &draft,
            message.seq,
            self.header.epoch,
            offset,
        );
        self.last = message.seq;
        self.copied.push(Remembered::of(message, offset));
        if acknowledged {
            self.header.acked_offset = self.end();
        }
        if self.bytes.len() >= PORTION {
            self.write()?;
        }
        Ok(())
    }

    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let path = || temporary_path(self.spool, &self.name);
        file::write_at(&self.file, &self.bytes, self.offset)
            .map_err(|e| StoreError::system("write", path())(e))?;
        self.offset += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    /// Durably puts the mailbox in place. Its messages up to number `acked` are acknowledged.
    ///
    /// # Errors
    /// I/O errors. The old mailbox or the complete new one is in place then.
    pub(super) fn finish(mut self, acked: u64) -> Result<(), StoreError> {
        self.kept_from_here();
        self.write()?;
        self.header.acked_seq = acked;
        let folder = self.spool.paths.mailbox_folder(&self.name)?;
        let path = folder.path_of(self.name.as_str());
        let write = |e: io::Error| StoreError::system("write", Path::new(&path))(e);
        file::write_at(&self.file, &self.header.first_bytes(), 0).map_err(write)?;
        // Write both slots, so that losing one is harmless from the start.
        self.header.write_next(&self.file).map_err(write)?;
        file::sync(&self.file).map_err(write)?;
        folder
            .rename(&temporary_name(&self.name), self.name.as_str())
            .map_err(write)?;
        self.is_in_place = true;
        self.spool.sync_name(&self.name)?;
        let (spool, name, epoch) = (self.spool, &self.name, self.header.epoch);
        ids::follow(spool, name, self.old, epoch, &self.copied, self.offset);
        Ok(())
    }
}

impl Drop for MailboxWriter<'_> {
    /// Removes the temporary file after an error, because the disk may be full.
    fn drop(&mut self) {
        if self.is_in_place {
            return;
        }
        let folder = self.spool.paths.mailbox_folder(&self.name).ok();
        if let Some(Err(e)) = folder.map(|folder| folder.remove(&temporary_name(&self.name))) {
            log::warn!(
                "cannot remove {}: {e}",
                temporary_path(self.spool, &self.name).display()
            );
        }
    }
}

/// Returns the temporary name. It is not a mailbox name, because names never begin with a dot.
fn temporary_name(name: &Name) -> String {
    format!(".{name}.new")
}

fn temporary_path(spool: &Spool, name: &Name) -> PathBuf {
    let folder = spool.paths.mail.path_of(&folder(name));
    folder.join(temporary_name(name))
}
