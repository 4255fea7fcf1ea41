//! A mailbox that is open for appending, and waiting until one is on the disk.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::format::end::{self, Tail};
use super::format::header::Header;
use super::paths::Paths;
use super::repair;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file::{self, Facts};
use crate::sys::lock::HeldLock;
use crate::sys::random;

/// A mailbox and its lock file, open for the next message.
#[derive(Debug)]
pub(super) struct OpenMailbox {
    pub(super) name: Name,
    lock_file: File,
    pub(super) log: MailboxLog,
}

/// The file of a mailbox.
#[derive(Debug)]
pub(super) struct MailboxLog {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// How this process has left it; `None` before its first message.
    known: Option<AppendPosition>,
}

/// Where the next record of a mailbox goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct AppendPosition {
    pub(super) header: Header,
    pub(super) tail: Tail,
    /// How long the file is, in bytes. 0: the header has to be written as well.
    len: u64,
}

impl OpenMailbox {
    /// Opens the mailbox of `name`, which is made when there is none.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`]; those of the system.
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

    /// Waits for the lock of the mailbox, under which alone its log may be worked on.
    ///
    /// # Errors
    /// Those of `openat(2)` and `flock(2)`.
    pub(super) fn lock(
        &mut self,
        paths: &Paths,
    ) -> Result<(HeldLock<'_>, &mut MailboxLog), StoreError> {
        let failed = |e| StoreError::system("lock the mailbox", paths.mailbox_path(&self.name))(e);
        // A lock file that was removed since the last message guards nothing.
        while self.log.known.is_some() && !file::facts(&self.lock_file).map_err(failed)?.named {
            self.lock_file = paths.lock_file(&self.name)?;
        }
        let held = HeldLock::wait(&self.lock_file).map_err(failed)?;
        Ok((held, &mut self.log))
    }
}

impl MailboxLog {
    /// Where the next record goes. What this process knows of the mailbox is used where no other one has appended
    /// meanwhile, and the header that it has read where that `suffices`.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`]; damage; those of the system.
    pub(super) fn position(
        &mut self,
        paths: &Paths,
        name: &Name,
        suffices: impl FnOnce(&AppendPosition) -> bool,
    ) -> Result<AppendPosition, StoreError> {
        let mut facts = self.facts()?;
        if !facts.named {
            // It was replaced by a copy of itself.
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
            None => self.tail(paths, name, &header, facts.len)?,
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

    /// How this process has left the mailbox, if it still ends so.
    fn still_known(&mut self, len: u64) -> Result<Option<AppendPosition>, StoreError> {
        let Some(known) = self.known.take().filter(|known| known.len == len) else {
            return Ok(None);
        };
        let is_last = end::is_last(&self.file, known.header.epoch, known.tail)
            .map_err(StoreError::system("read", &self.path))?;
        Ok(is_last.then_some(known))
    }

    /// The end of the mailbox, mended where a crash has cut it off.
    fn tail(
        &self,
        paths: &Paths,
        name: &Name,
        header: &Header,
        len: u64,
    ) -> Result<Tail, StoreError> {
        let end =
            end::find(&self.file, header, len).map_err(StoreError::system("read", &self.path))?;
        match end.seq {
            Some(seq) => Ok(Tail {
                seq,
                offset: end.offset,
            }),
            None => repair::mend_tail(paths, name, &self.file, header, end.offset),
        }
    }

    /// Begins a mailbox that has no message. What a first write that was cut off has left is removed.
    fn begin(&self, paths: &Paths, name: &Name, len: u64) -> Result<AppendPosition, StoreError> {
        if len > 0 {
            if repair::quarantine(paths, name, &self.file, 0, len)? {
                log::warn!(
                    "mailbox {}: its {len} bytes hold no message, and go to quarantine",
                    self.path.display()
                );
            }
            file::truncate(&self.file, 0).map_err(StoreError::system("truncate", &self.path))?;
        }
        let mut epoch = [0; 4];
        random::fill(&mut epoch)
            .map_err(StoreError::system("draw a random number for", &self.path))?;
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

    /// Writes `bytes`, which begin with [`AppendPosition::first_bytes`], at `position`, in one write: all of them or none. The
    /// mailbox ends with `tail` then. Zeros are added to `bytes`, so that the file grows by whole blocks.
    ///
    /// # Errors
    /// Those of `pwrite(2)`; then the file is cut back to where it ended.
    pub(super) fn write(
        &mut self,
        position: &AppendPosition,
        bytes: &mut Vec<u8>,
        tail: Tail,
    ) -> Result<(), StoreError> {
        let offset = position.offset();
        end::fill_block(bytes, offset, position.len);
        file::write_at(&self.file, bytes, offset).map_err(|e| {
            // If this fails as well, the next append mends the tail. What is cut off must not come back behind what is
            // written there next.
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

    /// Notes that the mailbox was left at `position`.
    pub(super) fn left_at(&mut self, position: &AppendPosition) {
        self.known = Some(*position);
    }
}

impl AppendPosition {
    /// Where the next write goes.
    pub(super) fn offset(&self) -> u64 {
        if self.len == 0 { 0 } else { self.tail.offset }
    }

    /// What has to be written before the next record: the header of a new mailbox, or nothing.
    pub(super) fn first_bytes(&self) -> Vec<u8> {
        if self.len == 0 {
            self.header.first_bytes()
        } else {
            Vec::new()
        }
    }
}

/// Waits until a mailbox is on the disk. An error is final: the kernel may have forgotten what it could
/// not write, and would say that all is well if it were asked again. So the mailbox turns read-only,
/// until `droplinectl check --repair` has looked at what the disk really has.
///
/// # Errors
/// [`StoreError::ReadOnly`].
pub(super) fn sync(file: &File, path: &Path) -> Result<(), StoreError> {
    file::sync(file).map_err(|e| {
        log::error!(
            "the disk failed to keep {}: {e}; the mailbox is read-only from now on; \
             stop the daemon and use droplinectl check --repair",
            path.display()
        );
        if let Err(e) = file::make_read_only(file) {
            log::error!("cannot make {} read-only: {e}", path.display());
        }
        StoreError::read_only(path)
    })
}
