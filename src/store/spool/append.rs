//! Appending a message: durable before it returns.

use std::fs::File;
use std::io;
use std::path::Path;

use super::layout::Spool;
use super::mailbox::{self, Header};
use super::record;
use super::repair::{self, Tail};
use crate::message::Draft;
use crate::name::Name;
use crate::store::{Receipt, StoreError};
use crate::sys::file;
use crate::sys::lock::Locked;

/// Appends `draft` to the mailbox of `to`, which is made when there is none.
///
/// # Errors
/// Those of the system. A message that could not be written whole is taken back.
pub(super) fn append(spool: &Spool, to: &Name, draft: &Draft<'_>) -> Result<Receipt, StoreError> {
    let place = Spool::place(to);
    let path = spool.mail().path_of(&place);
    let written = write(spool, to, &place, &path, draft)?;
    // Outside the lock, so that the file system commits many messages at once.
    file::sync(&written.file).map_err(StoreError::system("sync", &path))?;
    if !written.named {
        name_on_disk(spool, to, &written.file, &path)?;
    }
    Ok(Receipt { seq: written.seq })
}

struct Written {
    file: File,
    seq: u64,
    named: bool,
}

/// What is done under the lock: read the tail, one write.
fn write(
    spool: &Spool,
    to: &Name,
    place: &str,
    path: &Path,
    draft: &Draft<'_>,
) -> Result<Written, StoreError> {
    let _lock = lock(spool, to)?;
    let file = spool
        .mail()
        .file_or_new(place)
        .map_err(StoreError::system("open", path))?;
    let len = file::facts(&file)
        .map_err(StoreError::system("look at", path))?
        .len;
    let header = Header::read(&file).map_err(StoreError::system("read", path))?;
    let Some(header) = header else {
        return begin(file, path, len, draft);
    };
    let tail = match mailbox::last_seq(&file, &header, len) {
        Ok(Some(seq)) => Tail { seq, offset: len },
        Ok(None) => repair::mend_tail(spool, to, &file, &header, len)?,
        Err(e) => return Err(StoreError::system("read", path)(e)),
    };
    let seq = tail.seq + 1;
    let mut bytes = Vec::new();
    record::encode(&mut bytes, draft, seq, header.epoch, tail.offset);
    write_or_take_back(&file, &bytes, tail.offset, path)?;
    Ok(Written {
        file,
        seq,
        named: header.named,
    })
}

/// Writes a new mailbox with its first message.
fn begin(file: File, path: &Path, len: u64, draft: &Draft<'_>) -> Result<Written, StoreError> {
    if len > 0 {
        if !repair::is_stillborn(&file, path, len)? {
            return Err(repair::headless(path));
        }
        file::truncate(&file, 0).map_err(StoreError::system("truncate", path))?;
    }
    let mut epoch = [0; 4];
    getrandom::fill(&mut epoch)
        .map_err(io::Error::from)
        .map_err(StoreError::system("draw a random number for", path))?;
    let header = Header::new(u32::from_le_bytes(epoch));
    let mut bytes = header.first_bytes();
    let offset = bytes.len() as u64;
    record::encode(&mut bytes, draft, 1, header.epoch, offset);
    write_or_take_back(&file, &bytes, 0, path)?;
    Ok(Written {
        file,
        seq: 1,
        named: false,
    })
}

/// One write, of all or nothing: when it fails in the middle, the file is cut back to `offset`.
fn write_or_take_back(
    file: &File,
    bytes: &[u8],
    offset: u64,
    path: &Path,
) -> Result<(), StoreError> {
    file::write_at(file, bytes, offset).map_err(|e| {
        // If this fails as well, the next append mends the tail.
        let _ = file::truncate(file, offset);
        StoreError::system("write", path)(e)
    })
}

/// Waits until the name of a mailbox is on the disk, and notes that in its header, so that it is done
/// once.
fn name_on_disk(spool: &Spool, to: &Name, file: &File, path: &Path) -> Result<(), StoreError> {
    let folder = spool.folder(to)?;
    folder
        .sync()
        .map_err(StoreError::system("sync", folder.path()))?;
    let _lock = lock(spool, to)?;
    match Header::read(file) {
        Ok(Some(header)) if !header.named => {
            // Not waited for: if it is lost, the next append syncs the folder once more.
            let header = Header {
                named: true,
                ..header
            };
            header
                .write_next(file)
                .map_err(StoreError::system("write", path))
        }
        Ok(_) => Ok(()),
        Err(e) => Err(StoreError::system("read", path)(e)),
    }
}

/// Takes the lock that guards the mailbox of `name`.
pub(super) fn lock(spool: &Spool, name: &Name) -> Result<Locked, StoreError> {
    let stripe = spool.stripe(name)?;
    Locked::wait(stripe).map_err(StoreError::system("lock the mailbox", Spool::place(name)))
}
