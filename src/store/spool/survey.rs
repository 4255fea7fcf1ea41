//! Inspects mailboxes without changing them.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::format::end;
use super::format::header::Header;
use super::format::walk::{Step, Walk};
use super::handle::Spool;
use super::lock::lock;
use super::paths::{self, for_each_folder};
use super::repair;
use crate::message::Stored;
use crate::name::Name;
use crate::store::{MailboxState, Queue, State, StoreError};
use crate::sys::file;

/// Returns the names of all mailboxes, sorted.
pub(super) fn mailboxes(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    let mut all = Vec::new();
    for_each_folder(&spool.paths.mail, |_, folder, names| {
        let names = names.iter().filter_map(|name| Name::new(name).ok());
        // A file in the wrong folder is not a mailbox: requests do not find it.
        all.extend(names.filter(|name| *paths::folder(name) == *folder));
        Ok(())
    })?;
    all.sort_unstable();
    Ok(all)
}

/// A snapshot of a mailbox, taken under its lock.
#[derive(Debug)]
pub(super) struct View {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// `None` if the mailbox is empty or `headless`.
    pub(super) header: Option<Header>,
    /// A header was written, and none is valid.
    pub(super) headless: bool,
    /// No header was ever written, and `header` is rebuilt.
    pub(super) unwritten: bool,
    /// One of the two header slots is invalid.
    pub(super) one_slot_bad: bool,
    /// The end of its records.
    pub(super) len: u64,
    pub(super) writable: bool,
}

impl View {
    /// Opens the mailbox of `of`. Returns `None` if it does not exist.
    pub(super) fn open(spool: &Spool, of: &Name) -> Result<Option<Self>, StoreError> {
        // Do not create a lock file for a name without a mailbox.
        if spool.paths.mailbox(of)?.is_none() {
            return Ok(None);
        }
        let path = spool.paths.mailbox_path(of);
        // Lock before opening: another process may replace the mailbox by a copy.
        let _lock = lock(&spool.paths, of)?;
        let Some(file) = spool.paths.mailbox(of)? else {
            return Ok(None);
        };
        let facts = file::facts(&file).map_err(StoreError::system("look at", &path))?;
        let (header, headless) = match repair::header(&file, &path, facts.len) {
            Err(StoreError::Damaged { .. }) => (None, true),
            header => (header?, false),
        };
        let read = |e| StoreError::system("read", &path)(e);
        let unwritten = header.is_some() && Header::read(&file).map_err(read)?.is_none();
        let one_slot_bad = Header::has_bad_slot(&file).map_err(read)?;
        let len = match &header {
            Some(header) => end::find(&file, header, facts.len).map_err(read)?.offset,
            None => facts.len,
        };
        Ok(Some(Self {
            path,
            file,
            header,
            headless,
            unwritten,
            one_slot_bad,
            len,
            writable: facts.writable,
        }))
    }

    /// Returns the header, or `None` if the mailbox is empty. Fails if the header is damaged.
    pub(super) fn sound_header(&self) -> Result<Option<Header>, StoreError> {
        if self.headless {
            // Fails again, with the path in the error.
            repair::header(&self.file, &self.path, self.len)?;
        }
        Ok(self.header)
    }
}

/// Returns the size of the queue in the mailbox of `of`, or `None` if there is no such mailbox or it is empty.
///
/// # Errors
/// [`StoreError::Damaged`]; I/O errors.
pub(super) fn queue(spool: &Spool, of: &Name) -> Result<Option<Queue>, StoreError> {
    let Some(view) = View::open(spool, of)? else {
        return Ok(None);
    };
    let Some(header) = view.sound_header()? else {
        return Ok(None);
    };
    let mut queue = Queue {
        waiting: 0,
        bytes: view.len.saturating_sub(header.acked_offset),
        oldest: None,
    };
    // Count one by one, because damage may have left gaps in the numbers.
    let walk = Walk::new(header.epoch, header.acked_offset, view.len);
    each_message(&view.file, &view.path, walk, &mut |_, message| {
        queue.waiting += 1;
        queue.oldest = queue.oldest.or(Some(message.at));
        true
    })?;
    Ok(Some(queue))
}

/// Passes the messages of the mailbox of `of` to `each` until it returns `false`. Returns the state of the mailbox.
///
/// # Errors
/// [`StoreError::Damaged`]; I/O errors.
pub(super) fn messages(
    spool: &Spool,
    of: &Name,
    each: &mut dyn FnMut(&Stored<'_>, State) -> bool,
) -> Result<Option<MailboxState>, StoreError> {
    let Some(view) = View::open(spool, of)? else {
        return Ok(None);
    };
    let Some(header) = view.sound_header()? else {
        return Ok(None);
    };
    let walk = Walk::new(header.epoch, header.kept_offset, view.len);
    each_message(&view.file, &view.path, walk, &mut |offset, message| {
        let state = if offset < header.acked_offset {
            State::Read
        } else {
            State::Waiting
        };
        each(message, state)
    })?;
    Ok(Some(MailboxState {
        acked: header.acked_seq,
        used: header.used_unowned,
    }))
}

/// Passes the valid messages of a walk over `file`, and their offsets, to `each` until it returns `false`.
///
/// # Errors
/// When `pread(2)` fails.
pub(super) fn each_message(
    file: &File,
    path: &Path,
    mut walk: Walk,
    each: &mut dyn FnMut(u64, &Stored<'_>) -> bool,
) -> Result<(), StoreError> {
    loop {
        match walk.step(file).map_err(StoreError::system("read", path))? {
            Step::Record { offset, .. } => {
                if walk.record().is_some_and(|message| !each(offset, &message)) {
                    return Ok(());
                }
            }
            // Damaged, or dropped since the header was read.
            Step::Bad { .. } => {}
            Step::End => return Ok(()),
        }
    }
}
