//! Looking at mailboxes without touching them.

use std::fs::File;
use std::path::PathBuf;

use super::format::end;
use super::format::header::Header;
use super::format::walk::{Step, Walk};
use super::handle::Spool;
use super::lock::lock;
use super::paths::{self, for_each_folder};
use super::repair;
use crate::message::Stored;
use crate::name::Name;
use crate::store::{Queue, State, StoreError};
use crate::sys::file;

/// The names of all mailboxes, sorted.
///
/// # Errors
/// Those of the system.
pub(super) fn mailboxes(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    let mut all = Vec::new();
    for_each_folder(&spool.paths.mail, |_, folder, names| {
        let names = names.iter().filter_map(|name| Name::new(name).ok());
        // A file in another folder than its own is no mailbox: no request finds it.
        all.extend(names.filter(|name| *paths::folder(name) == *folder));
        Ok(())
    })?;
    all.sort_unstable();
    Ok(all)
}

/// A mailbox as it was at a moment when nobody appended to it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// `None` when nothing is in it.
    pub(super) header: Option<Header>,
    /// There was a header, and is none any more.
    pub(super) headless: bool,
    /// No header was ever written, and the one above was made up.
    pub(super) unwritten: bool,
    /// One of the two header slots is invalid.
    pub(super) one_slot_bad: bool,
    /// Where its records end.
    pub(super) len: u64,
    pub(super) writable: bool,
}

impl View {
    /// Opens the mailbox of `of`; `None` when there is none.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn open(spool: &Spool, of: &Name) -> Result<Option<Self>, StoreError> {
        // Makes no lock file for a name without a mailbox.
        if spool.paths.mailbox(of)?.is_none() {
            return Ok(None);
        }
        let path = spool.paths.mailbox_path(of);
        // The lock first: a mailbox may be replaced by a copy of itself.
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

    /// The header; `None` when nothing is in the mailbox.
    pub(super) fn sound_header(&self) -> Result<Option<Header>, StoreError> {
        if self.headless {
            // It says so with the path.
            repair::header(&self.file, &self.path, self.len)?;
        }
        Ok(self.header)
    }
}

/// What waits in the mailbox of `of`; `None` when there is no such mailbox.
///
/// # Errors
/// Damage, and those of the system.
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
    // Counted one by one, and not told from the numbers, in which damage may have left gaps.
    let mut walk = Walk::new(header.epoch, header.acked_offset, view.len);
    loop {
        let step = walk.step(&view.file);
        match step.map_err(StoreError::system("read", &view.path))? {
            Step::Record { .. } => {
                queue.waiting += 1;
                if queue.oldest.is_none() {
                    queue.oldest = walk.record().map(|message| message.at);
                }
            }
            Step::Bad { .. } => {}
            Step::End => break,
        }
    }
    Ok(Some(queue))
}

/// Shows the messages of the mailbox of `of` until `each` returns `false`; the number up to which they are
/// acknowledged.
///
/// # Errors
/// Damage, and those of the system.
pub(super) fn messages(
    spool: &Spool,
    of: &Name,
    each: &mut dyn FnMut(&Stored<'_>, State) -> bool,
) -> Result<Option<u64>, StoreError> {
    let Some(view) = View::open(spool, of)? else {
        return Ok(None);
    };
    let Some(header) = view.sound_header()? else {
        return Ok(None);
    };
    let mut walk = Walk::new(header.epoch, header.kept_offset, view.len);
    loop {
        match walk
            .step(&view.file)
            .map_err(StoreError::system("read", &view.path))?
        {
            Step::Record { offset, .. } => {
                let state = if offset < header.acked_offset {
                    State::Read
                } else {
                    State::Waiting
                };
                if walk.record().is_some_and(|message| !each(&message, state)) {
                    break;
                }
            }
            // It is damaged, or was forgotten since we have looked at the header.
            Step::Bad { .. } => {}
            Step::End => break,
        }
    }
    Ok(Some(header.acked_seq))
}
