//! A mailbox that is open for appending, and the sync that makes a mailbox durable.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::format::end::{self, Tail};
use super::format::header::Header;
use super::paths::{LOCK_TIMEOUT, Paths};
use super::repair;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file::{self, Facts};
use crate::sys::lock::HeldLock;
use crate::sys::random;

/// A mailbox and its lock file, open for appending.
#[derive(Debug)]
pub(super) struct OpenMailbox {
    pub(super) name: Name,
    lock_file: File,
    pub(super) log: MailboxLog,
}

/// The log file of a mailbox.
#[derive(Debug)]
pub(super) struct MailboxLog {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// The position after the last append of this process; `None` before the first.
    known: Option<AppendPosition>,
}

/// The position of the next record in a mailbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct AppendPosition {
    pub(super) header: Header,
    pub(super) tail: Tail,
    /// Length of the file in bytes. If 0, the header must be written as well.
    len: u64,
}

impl OpenMailbox {
    /// Opens the mailbox of `name`, creating it if missing.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`]; I/O errors.
    pub(super) fn open(paths: &Paths, name: &Name) -> Result<Self, StoreError> {
        Ok(Self {
            name: name.clone(),
            lock_file: paths.lock_file(name)?,
            log: MailboxLog {
                path: paths.mailbox_path(name),
                file: paths.mailbox_or_new(name)?,
                known: None,
            },
        })
    }

    /// Waits for the lock of the mailbox, up to [`LOCK_TIMEOUT`]. Its log may only be used under this lock.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another process keeps the lock; errors from `openat(2)` and `flock(2)`.
    pub(super) fn lock(
        &mut self,
        paths: &Paths,
    ) -> Result<(HeldLock<'_>, &mut MailboxLog), StoreError> {
        let failed = |e| StoreError::system("lock the mailbox", paths.mailbox_path(&self.name))(e);
        // A lock file that was removed since the last append guards nothing: open the new one.
        while self.log.known.is_some() && !file::facts(&self.lock_file).map_err(failed)?.named {
            self.lock_file = paths.lock_file(&self.name)?;
        }
        let held = HeldLock::within(&self.lock_file, LOCK_TIMEOUT).map_err(failed)?;
        Ok((held.ok_or(StoreError::Busy)?, &mut self.log))
    }
}

impl MailboxLog {
    /// Returns the position of the next record. Reuses the cached tail if no other process has appended since, and the
    /// cached header too if `suffices` accepts it.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`]; [`StoreError::Damaged`]; I/O errors.
    pub(super) fn position(
        &mut self,
        paths: &Paths,
        name: &Name,
        suffices: impl FnOnce(&AppendPosition) -> bool,
    ) -> Result<AppendPosition, StoreError> {
        let mut facts = self.facts()?;
        if !facts.named {
            // The mailbox was replaced by a copy.
            self.file = paths.mailbox_or_new(name)?;
            self.known = None;
            facts = self.facts()?;
        }
        if !facts.writable {
            return Err(StoreError::read_only(&self.path));
        }
        let known = self.still_known(facts.len)?;
        if let Some(known) = known.filter(suffices) {
            return Ok(known);
        }
        let Some(header) = repair::header(&self.file, &self.path, facts.len)? else {
            return self.begin(paths, name, facts.len);
        };
        let tail = match known {
            Some(known) => known.tail,
            None => repair::tail(paths, name, &self.file, &header, facts.len)?,
        };
        Ok(AppendPosition {
            header,
            tail,
            len: facts.len,
        })
    }

    fn facts(&self) -> Result<Facts, StoreError> {
        file::facts(&self.file).map_err(StoreError::system("look at", &self.path))
    }

    /// Takes the cached position, and returns it if the mailbox still ends there.
    fn still_known(&mut self, len: u64) -> Result<Option<AppendPosition>, StoreError> {
        let Some(known) = self.known.take().filter(|known| known.len == len) else {
            return Ok(None);
        };
        let is_last = end::is_last(&self.file, known.header.epoch, known.tail)
            .map_err(StoreError::system("read", &self.path))?;
        Ok(is_last.then_some(known))
    }

    /// Starts a mailbox that has no message. Removes the remains of a first write that was cut off.
    fn begin(&self, paths: &Paths, name: &Name, len: u64) -> Result<AppendPosition, StoreError> {
        if len > 0 {
            if repair::quarantine(paths, name.as_str(), &self.file, 0, len)? {
                log::warn!(
                    "mailbox {}: its {len} bytes contain no valid message and go to quarantine",
                    self.path.display()
                );
            }
            file::truncate(&self.file, 0).map_err(StoreError::system("truncate", &self.path))?;
        }
        let epoch =
            random::array().map_err(StoreError::system("draw a random number for", &self.path))?;
        let header = Header::new(u32::from_le_bytes(epoch));
        Ok(AppendPosition {
            header,
            tail: Tail {
                seq: 0,
                offset: header.acked_offset,
            },
            len: 0,
        })
    }

    /// Writes `bytes`, which begin with [`AppendPosition::first_bytes`], at `position` with one write. The mailbox ends
    /// at `tail` then. Pads `bytes` with zeros, so that the file grows by whole blocks.
    ///
    /// # Errors
    /// Errors from `pwrite(2)`. The file is truncated to where its records ended then.
    pub(super) fn write(
        &mut self,
        position: &AppendPosition,
        bytes: &mut Vec<u8>,
        tail: Tail,
    ) -> Result<(), StoreError> {
        let offset = position.offset();
        end::fill_block(bytes, offset, position.len);
        file::write_at(&self.file, bytes, offset).map_err(|e| {
            // Sync the truncation, so that after a crash the removed bytes do not reappear behind the next record. If
            // this fails as well, the next append repairs the tail.
            let _ = file::truncate(&self.file, offset).and_then(|()| file::sync(&self.file));
            StoreError::system("write", &self.path)(e)
        })?;
        self.known = Some(AppendPosition {
            tail,
            len: position.len.max(offset + bytes.len() as u64),
            ..*position
        });
        Ok(())
    }

    /// Returns the position after the last append of this process.
    pub(super) fn known(&self) -> Option<&AppendPosition> {
        self.known.as_ref()
    }

    /// Records that the mailbox ends at `position`.
    pub(super) fn left_at(&mut self, position: &AppendPosition) {
        self.known = Some(*position);
    }
}

impl AppendPosition {
    /// Returns the file offset of the next write.
    pub(super) fn offset(&self) -> u64 {
        if self.len == 0 { 0 } else { self.tail.offset }
    }

    /// Returns the bytes to write before the next record: the header of a new mailbox, or nothing.
    pub(super) fn first_bytes(&self) -> Vec<u8> {
        if self.len == 0 {
            self.header.first_bytes()
        } else {
            Vec::new()
        }
    }
}

/// Waits until a mailbox is durable. An error is final: the kernel may drop pages that it could not write, and then a
/// second fdatasync(2) returns success. So the mailbox is made read-only until `droplinectl check --repair` has
/// repaired it from the contents of the disk.
///
/// # Errors
/// [`StoreError::ReadOnly`].
pub(super) fn sync(file: &File, path: &Path) -> Result<(), StoreError> {
    file::sync(file).map_err(|e| {
        log::error!(
            "cannot sync {} to disk: {e}; the mailbox is read-only from now on; \
             stop the daemon and run droplinectl check --repair",
            path.display()
        );
        if let Err(e) = file::make_read_only(file) {
            log::error!("cannot make {} read-only: {e}", path.display());
        }
        StoreError::read_only(path)
    })
}
