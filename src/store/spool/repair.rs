//! The end of a mailbox after a crash: found, and mended before the next append.

use std::fs::File;
use std::path::Path;

use super::format::end::Tail;
use super::format::header::{Header, RECORDS};
use super::format::record;
use super::format::walk::{Step, Walk};
use super::paths::Paths;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::file;

/// Cuts off what follows the last valid record of a mailbox that is `len` bytes long. What is cut off
/// was accepted by nobody, or the disk has failed; it is kept in quarantine all the same, unless it is zeros. Bad bytes before
/// a valid record stay where they are, and readers pass over them. The stripe's lock must be held.
///
/// # Errors
/// Those of the system; then nothing was cut off.
pub(super) fn mend_tail(
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
    report(paths, name, &path, header, tail, len, file)?;
    file::truncate(file, tail.offset).map_err(StoreError::system("truncate", &path))?;
    Ok(tail)
}

/// Says what is cut off, and keeps it.
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
            "mailbox {path} ends before its byte {}: what was behind it is lost",
            header.acked_offset
        );
    } else if quarantine(paths, name, file, tail.offset, len)? {
        log::warn!(
            "mailbox {path}: its end, {lost} bytes from {} on, holds no message, and goes to quarantine",
            tail.offset
        );
    } else {
        log::warn!(
            "mailbox {path}: its end, {lost} bytes from {} on, holds zeros, and is cut off",
            tail.offset
        );
    }
    Ok(())
}

/// The header of a mailbox that is `len` bytes long; `None` when nothing is in it, because its first write
/// was cut off. Where that write has left the message, and not the header before it, the header is rebuilt.
///
/// # Errors
/// [`StoreError::Damaged`] when there was a header, and is none any more; those of the system.
pub(super) fn header(file: &File, path: &Path, len: u64) -> Result<Option<Header>, StoreError> {
    let read = |e| StoreError::system("read", path)(e);
    if let Some(header) = Header::read(file).map_err(read)? {
        return Ok(Some(header));
    }
    match rebuilt_header(file, path, len)? {
        Some(_) if !Header::was_never_written(file).map_err(read)? => Err(StoreError::damaged(
            path,
            0,
            "both its headers are invalid, and it has messages",
        )),
        rebuilt => {
            if rebuilt.is_some() {
                log::warn!(
                    "mailbox {} has no header; all its messages wait",
                    path.display()
                );
            }
            Ok(rebuilt)
        }
    }
}

/// A header for a mailbox that has lost its own: all messages wait. `None` when there are none.
///
/// # Errors
/// Those of the system.
pub(super) fn rebuilt_header(
    file: &File,
    path: &Path,
    len: u64,
) -> Result<Option<Header>, StoreError> {
    let first = first_record(file, path, len)?;
    Ok(first.map(|(epoch, offset, seq)| Header::rebuilt(epoch, offset, seq)))
}

/// Epoch, offset and number of the first valid record of a mailbox that has no header to tell.
///
/// # Errors
/// Those of the system.
fn first_record(file: &File, path: &Path, len: u64) -> Result<Option<(u32, u64, u64)>, StoreError> {
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
            if let Step::Record { seq, .. } = step {
                return Ok(Some((epoch, offset, seq)));
            }
        }
        // The chunks overlap by what is needed to read the epoch.
        at += (n as u64).saturating_sub(8).max(8);
    }
    Ok(None)
}

/// Copies the bytes from `from` to `to` of a mailbox into a file of its own, named after where they come
/// from, unless they are zeros; whether it did.
///
/// # Errors
/// Those of the system.
pub(super) fn quarantine(
    paths: &Paths,
    name: &Name,
    file: &File,
    from: u64,
    to: u64,
) -> Result<bool, StoreError> {
    let copy = format!("{name}@{from}");
    let path = paths.quarantine.path_of(&copy);
    let mut out = None;
    let mut bytes = vec![0; 64 * 1024];
    let mut at = from;
    while at < to {
        let most = usize::try_from(to - at)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let n = file::read_at(file, &mut bytes[..most], at)
            .map_err(StoreError::system("read", paths.mailbox_path(name)))?;
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
