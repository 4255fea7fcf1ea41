//! Looking at mailboxes without touching them.

use super::append::lock;
use super::layout::Spool;
use super::mailbox::{self, Header};
use super::repair;
use super::walk::{Step, Walk};
use crate::name::Name;
use crate::store::{Queue, StoreError};
use crate::sys::file;

/// The names of all mailboxes, sorted.
///
/// # Errors
/// Those of the system.
pub(super) fn mailboxes(spool: &Spool) -> Result<Vec<Name>, StoreError> {
    let mail = spool.mail();
    let mut all = Vec::new();
    for folder in mail
        .names()
        .map_err(StoreError::system("read", mail.path()))?
    {
        let folder = String::from_utf8_lossy(&folder).into_owned();
        let names = mail.sub(&folder).and_then(|dir| dir.names());
        let names = names.map_err(StoreError::system("read", mail.path_of(&folder)))?;
        all.extend(names.iter().filter_map(|name| Name::new(name).ok()));
    }
    all.sort_unstable();
    Ok(all)
}

/// What waits in the mailbox of `of`; `None` when there is no such mailbox. Takes the same time however
/// much it is.
///
/// # Errors
/// Damage, and those of the system.
pub(super) fn queue(spool: &Spool, of: &Name) -> Result<Option<Queue>, StoreError> {
    let place = Spool::place(of);
    let path = spool.mail().path_of(&place);
    let opened = spool.mail().file(&place);
    let Some(file) = opened.map_err(StoreError::system("open", &path))? else {
        return Ok(None);
    };
    let read = |e| StoreError::system("read", &path)(e);
    let (header, len, last) = {
        let _lock = lock(spool, of)?;
        let len = file::facts(&file).map_err(read)?.len;
        let Some(header) = Header::read(&file).map_err(read)? else {
            return match repair::is_stillborn(&file, &path, len)? {
                true => Ok(None),
                false => Err(repair::headless(&path)),
            };
        };
        (
            header,
            len,
            mailbox::last_seq(&file, &header, len).map_err(read)?,
        )
    };
    let mut queue = Queue {
        waiting: 0,
        bytes: len.saturating_sub(header.acked_offset),
        oldest: None,
    };
    let mut walk = Walk::new(header.epoch, header.acked_offset, len);
    // With a torn tail, the numbers are counted one by one.
    loop {
        match walk.step(&file).map_err(read)? {
            Step::Record { .. } => {
                queue.waiting += 1;
                if queue.oldest.is_none() {
                    queue.oldest = walk.record().map(|message| message.at);
                }
            }
            Step::Bad { .. } => {}
            Step::End => break,
        }
        if let Some(last) = last {
            queue.waiting = last.saturating_sub(header.acked_seq);
            break;
        }
    }
    Ok(Some(queue))
}
