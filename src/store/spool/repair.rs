//! Repairs the end and the header of a mailbox after a crash, before the next append.

use std::fs::File;
use std::path::Path;

use super::format::backwards::Backwards;
use super::format::end::{self, Tail};
use super::format::header::{Header, RECORDS};
use super::format::record;
use super::format::walk::{Step, Walk};
use super::paths::Paths;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file;

/// Returns the end of a mailbox of `len` bytes, after the repair of a torn tail. The lock of the mailbox must be held.
///
/// # Errors
/// I/O errors.
pub(super) fn tail(
    paths: &Paths,
    name: &Name,
    file: &File,
    header: &Header,
    len: u64,
) -> Result<Tail, StoreError> {
    let path = paths.mailbox_path(name);
    let end = end::find(file, header, len).map_err(StoreError::system("read", path))?;
    match end.seq {
        Some(seq) => Ok(Tail {
            seq,
            offset: end.offset,
        }),
        None => mend_tail(paths, name, file, header, end.offset),
    }
}

/// Truncates a mailbox of `len` bytes after its last valid record. Unless the disk has failed, the removed bytes belong
/// to no accepted message. They are copied to quarantine unless they are all zero. Bad bytes before a valid record stay
/// in place, and readers skip them. The lock of the mailbox must be held.
///
/// # Errors
/// I/O errors. The mailbox is unchanged then.
fn mend_tail(
    paths: &Paths,
    name: &Name,
    file: &File,
    header: &Header,
    len: u64,
) -> Result<Tail, StoreError> {
    let path = paths.mailbox_path(name);
    let mut tail = Tail {
        seq: header.acked_seq,
        offset: header.acked_offset,
    };
    let read = |e| StoreError::system("read", &path)(e);
    // From the end, so that the work is bounded by the write that was cut off, and not by the mailbox.
    let mut back = Backwards::new(file, header.epoch, header.acked_offset, len);
    while let Some(head) = back.step().map_err(read)? {
        if back.record(&head).map_err(read)?.is_some() {
            tail = Tail {
                seq: head.seq.max(tail.seq),
                offset: back.begins_at() + head.record_len() as u64,
            };
            break;
        }
    }
    report(paths, name, &path, header, tail, len, file)?;
    file::truncate(file, tail.offset).map_err(StoreError::system("truncate", &path))?;
    Ok(tail)
}

/// Logs which bytes are removed, and copies them to quarantine.
fn report(
    paths: &Paths,
    name: &Name,
    path: &Path,
    header: &Header,
    tail: Tail,
    len: u64,
    file: &File,
) -> Result<(), StoreError> {
    let path = path.display();
    let lost = len.saturating_sub(tail.offset);
    if len < header.acked_offset {
        log::error!(
            "mailbox {path} is shorter than the {} bytes that its header refers to: the rest is lost",
            header.acked_offset
        );
    } else if quarantine(paths, name.as_str(), file, tail.offset, len)? {
        log::warn!(
            "mailbox {path}: its last {lost} bytes, from byte {} on, contain no valid message and go to quarantine",
            tail.offset
        );
    } else {
        log::warn!(
            "mailbox {path}: its last {lost} bytes, from byte {} on, are zeros and are removed",
            tail.offset
        );
    }
    Ok(())
}

/// Reads the header of a mailbox of `len` bytes. Returns `None` if the mailbox is empty because its first write was cut
/// off. If that write has left a message but no header, rebuilds the header.
///
/// # Errors
/// [`StoreError::Damaged`] if a header was written and none is valid; I/O errors.
pub(super) fn header(file: &File, path: &Path, len: u64) -> Result<Option<Header>, StoreError> {
    let read = |e| StoreError::system("read", path)(e);
    if let Some(header) = Header::read(file).map_err(read)? {
        return Ok(Some(header));
    }
    match rebuilt_header(file, path, len)? {
        Some(_) if !Header::was_never_written(file).map_err(read)? => Err(StoreError::damaged(
            path,
            0,
            "both its headers are invalid, but it has messages",
        )),
        rebuilt => {
            if rebuilt.is_some() {
                log::warn!(
                    "mailbox {} has no header; all its messages count as unread",
                    path.display()
                );
            }
            Ok(rebuilt)
        }
    }
}

/// Builds a header for a mailbox that has lost its own. All messages wait. Returns `None` if there are none.
pub(super) fn rebuilt_header(
    file: &File,
    path: &Path,
    len: u64,
) -> Result<Option<Header>, StoreError> {
    let first = first_record(file, path, len)?;
    Ok(first.map(|(epoch, offset, seq)| Header::rebuilt(epoch, offset, seq)))
}

/// Finds the first valid record of a mailbox without a header, and returns its epoch, offset and number.
fn first_record(file: &File, path: &Path, len: u64) -> Result<Option<(u32, u64, u64)>, StoreError> {
    let mut bytes = vec![0; 64 * 1024];
    let mut at = RECORDS;
    while at < len {
        let n = file::read_at(file, &mut bytes, at).map_err(StoreError::system("read", path))?;
        for hit in memchr::memmem::find_iter(&bytes[..n], &record::MAGIC) {
            // Every record contains the epoch of its file, so it can be validated without a header.
            let Some(epoch) = record::claimed_epoch(&bytes[hit..n]) else {
                break;
            };
            let offset = at + hit as u64;
            let mut walk = Walk::new(epoch, offset, len);
            let step = walk.step(file).map_err(StoreError::system("read", path))?;
            if let Step::Record { seq, .. } = step {
                return Ok(Some((epoch, offset, seq)));
            }
        }
        // The chunks overlap by the bytes needed to read the epoch.
        at += (n as u64).saturating_sub(8).max(8);
    }
    Ok(None)
}

/// Durably copies the bytes from `from` to `to` of a mailbox `file` to a quarantine file named `LABEL@from`, unless
/// they are all zero. The label is the name of the file. Returns whether it did.
pub(super) fn quarantine(
    paths: &Paths,
    label: &str,
    file: &File,
    from: u64,
    to: u64,
) -> Result<bool, StoreError> {
    let copy = format!("{label}@{from}");
    let path = paths.quarantine.path_of(&copy);
    let mut out = None;
    let mut bytes = vec![0; 64 * 1024];
    let mut at = from;
    while at < to {
        let most = usize::try_from(to - at)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let n = file::read_at(file, &mut bytes[..most], at)
            .map_err(StoreError::system("quarantine bytes of", label))?;
        if n == 0 {
            break;
        }
        if out.is_none() && bytes[..n].iter().any(|&b| b != 0) {
            let made = paths.quarantine.file_or_new(&copy);
            out = Some(made.map_err(StoreError::system("make", &path))?);
        }
        if let Some(out) = &out {
            file::write_at(out, &bytes[..n], at - from)
                .map_err(StoreError::system("write", &path))?;
        }
        at += n as u64;
    }
    let kept = out.is_some();
    if let Some(out) = out {
        file::sync(&out)
            .and_then(|()| paths.quarantine.sync())
            .map_err(StoreError::system("sync", &path))?;
    }
    Ok(kept)
}
