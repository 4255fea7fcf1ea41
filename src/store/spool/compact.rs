//! Writing a mailbox anew: with its valid records alone, from the beginning of the file.
//!
//! Done by repair, and in place of giving space back where the file system cannot do that.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::format::header::{Header, RECORDS};
use super::format::record;
use super::format::walk::{Step, Walk};
use super::handle::Spool;
use super::lock::lock;
use super::paths::folder;
use crate::message::{Draft, Stored};
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file;
use crate::sys::random;

/// Numbers go up to this at most: no mailbox will ever get there by itself.
pub(super) const LARGEST_SEQ: u64 = 1 << 62;
/// How much is gathered before it is written.
const PORTION: usize = 256 * 1024;

/// Copies the mailbox of `name`, whose lease the caller has (or the whole spool), and which has this header,
/// and puts the copy in its place. What is no valid record stays behind.
///
/// # Errors
/// Those of the system; then the mailbox is as it was.
pub(super) fn compact(
    spool: &Spool,
    name: &Name,
    old: &File,
    header: &Header,
) -> Result<(), StoreError> {
    let path = spool.paths.mailbox_path(name);
    let _lock = lock(&spool.paths, name)?;
    let read = |e| StoreError::system("read", &path)(e);
    let len = file::facts(old).map_err(read)?.len;
    let mut writer = MailboxWriter::begin(spool, name)?;
    writer.header.other_flags = header.other_flags;
    let mut walk = Walk::new(header.epoch, header.ids_offset, len);
    loop {
        match walk.step(old).map_err(read)? {
            Step::Record { offset, .. } => {
                if offset >= header.kept_offset {
                    writer.kept_from_here();
                }
                if let Some(message) = walk.record() {
                    writer.push(&message, offset < header.acked_offset)?;
                }
            }
            Step::Bad { .. } => {}
            Step::End => break,
        }
    }
    writer.finish(header.acked_seq)
}

/// Writes a mailbox that is seen by nobody until it is whole.
#[derive(Debug)]
pub(super) struct MailboxWriter<'s> {
    spool: &'s Spool,
    name: Name,
    file: File,
    header: Header,
    bytes: Vec<u8>,
    /// Where `bytes` go.
    offset: u64,
    kept: bool,
    last: u64,
}

impl<'s> MailboxWriter<'s> {
    /// Begins one for `name`. What an earlier attempt has left is overwritten.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn begin(spool: &'s Spool, name: &Name) -> Result<Self, StoreError> {
        let path = temporary_path(spool, name);
        // A mailbox must be readable where no file can be made.
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
        })
    }

    /// From the next message on, the mailbox is whole; before that, only the ids of messages count.
    pub(super) fn kept_from_here(&mut self) {
        if !self.kept {
            self.kept = true;
            self.header.kept_offset = self.end();
            self.header.kept_seq = self.last;
        }
    }

    /// Adds a message, which has been acknowledged or waits. Numbers must rise, and what waits comes last.
    ///
    /// # Errors
    /// Those of the system, and [`StoreError::Order`].
    pub(super) fn push(
        &mut self,
        message: &Stored<'_>,
        acknowledged: bool,
    ) -> Result<(), StoreError> {
        let late = acknowledged && self.header.acked_offset != self.end();
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

    /// Puts the mailbox, whose messages up to number `acked` are acknowledged, in its place, on the disk.
    ///
    /// # Errors
    /// Those of the system; then what was in its place still is.
    pub(super) fn finish(mut self, acked: u64) -> Result<(), StoreError> {
        self.kept_from_here();
        self.write()?;
        self.header.acked_seq = acked;
        let folder = self.spool.paths.mailbox_folder(&self.name)?;
        let path = folder.path_of(self.name.as_str());
        let write = |e: io::Error| StoreError::system("write", Path::new(&path))(e);
        file::write_at(&self.file, &self.header.first_bytes(), 0).map_err(write)?;
        // Both slots: losing one shall not cost anything from the beginning.
        self.header.write_next(&self.file).map_err(write)?;
        file::sync(&self.file).map_err(write)?;
        folder
            .rename(&temporary_name(&self.name), self.name.as_str())
            .map_err(write)?;
        self.spool.sync_name(&self.name)
    }
}

/// No name begins with a dot, so this is no mailbox.
fn temporary_name(name: &Name) -> String {
    format!(".{name}.new")
}

fn temporary_path(spool: &Spool, name: &Name) -> PathBuf {
    let folder = spool.paths.mail.path_of(&folder(name));
    folder.join(temporary_name(name))
}
