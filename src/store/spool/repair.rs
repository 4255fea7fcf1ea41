//! The end of a mailbox after a crash: found, and mended before the next append.

use std::fs::File;
use std::path::Path;

use super::layout::Spool;
use super::mailbox::{Header, RECORDS};
use super::record;
use super::walk::{Step, Walk};
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file;

/// Where the next record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The number of the last record.
    pub(super) seq: u64,
    /// Where it ends.
    pub(super) offset: u64,
}

/// Cuts off what follows the last valid record of a mailbox that is `len` bytes long. What is cut off
/// was accepted by nobody; it is kept in quarantine all the same, unless it is zeros. Bad bytes before
/// a valid record stay where they are, and readers pass over them. The stripe's lock must be held.
///
/// # Errors
/// Those of the system; then nothing was cut off.
pub(super) fn mend_tail(
    spool: &Spool,
    name: &Name,
    file: &File,
    header: &Header,
    len: u64,
) -> Result<Tail, StoreError> {
    let place = Spool::place(name);
    let path = spool.mail().path_of(&place);
    let mut tail = Tail {
        seq: header.acked_seq,
        offset: header.acked_offset,
    };
    let mut walk = Walk::new(header.epoch, header.acked_offset, len);
    loop {
        match walk.step(file).map_err(StoreError::system("read", &path))? {
            Step::Record { end, seq, .. } => {
                tail = Tail {
                    seq: seq.max(tail.seq),
                    offset: end,
                };
            }
            Step::Bad { .. } => {}
            Step::End => break,
        }
    }
    log::warn!(
        "mailbox {}: the last write was cut off; {} bytes at {} go to quarantine",
        path.display(),
        len.saturating_sub(tail.offset),
        tail.offset
    );
    quarantine(spool, name, file, tail.offset, len)?;
    file::truncate(file, tail.offset).map_err(StoreError::system("truncate", &path))?;
    Ok(tail)
}

/// Whether a mailbox without a valid header is one whose first write was cut off: no record in it.
///
/// # Errors
/// Those of the system.
pub(super) fn is_stillborn(file: &File, path: &Path, len: u64) -> Result<bool, StoreError> {
    Ok(first_record(file, path, len)?.is_none())
}

/// Epoch and offset of the first valid record of a mailbox that has no header to tell.
///
/// # Errors
/// Those of the system.
pub(super) fn first_record(
    file: &File,
    path: &Path,
    len: u64,
) -> Result<Option<(u32, u64)>, StoreError> {
    let mut bytes = vec![0; 64 * 1024];
    let mut at = RECORDS;
    while at < len {
        let n = file::read_at(file, &mut bytes, at).map_err(StoreError::system("read", path))?;
        for hit in memchr::memmem::find_iter(&bytes[..n], &record::MAGIC) {
            // Every record carries the epoch of its file, so that it can be found without a header.
            let Some(epoch) = record::claimed_epoch(&bytes[hit..n]) else {
                break;
            };
            let offset = at + hit as u64;
            let mut walk = Walk::new(epoch, offset, len);
            let step = walk.step(file).map_err(StoreError::system("read", path))?;
            if matches!(step, Step::Record { .. }) {
                return Ok(Some((epoch, offset)));
            }
        }
        // The chunks overlap by what is needed to read the epoch.
        at += (n as u64).saturating_sub(8).max(8);
    }
    Ok(None)
}

/// What is said of a mailbox with messages and without a valid header.
pub(super) fn headless(path: &Path) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        offset: 0,
        what: "both its headers are invalid, and it has messages",
    }
}

/// Copies the bytes from `from` to `to` of a mailbox into a file of its own, named after where they come
/// from, unless they are zeros.
pub(super) fn quarantine(
    spool: &Spool,
    name: &Name,
    file: &File,
    from: u64,
    to: u64,
) -> Result<(), StoreError> {
    let copy = format!("{name}@{from}");
    let path = spool.quarantine.path_of(&copy);
    let mut out = None;
    let mut bytes = vec![0; 64 * 1024];
    let mut at = from;
    while at < to {
        let most = usize::try_from(to - at)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let n = file::read_at(file, &mut bytes[..most], at).map_err(StoreError::system(
            "read",
            spool.mail().path_of(&Spool::place(name)),
        ))?;
        if n == 0 {
            break;
        }
        if out.is_none() && bytes[..n].iter().any(|&b| b != 0) {
            let made = spool.quarantine.file_or_new(&copy);
            out = Some(made.map_err(StoreError::system("make", &path))?);
        }
        if let Some(out) = &out {
            file::write_at(out, &bytes[..n], at - from)
                .map_err(StoreError::system("write", &path))?;
        }
        at += n as u64;
    }
    if let Some(out) = out {
        file::sync(&out)
            .and_then(|()| spool.quarantine.sync())
            .map_err(StoreError::system("sync", &path))?;
    }
    Ok(())
}
