//! Checks, repairs and restores the mailboxes of a spool.

use super::compact::{LARGEST_SEQ, MailboxWriter, compact};
use super::format::end;
use super::format::walk::{Step, Walk};
use super::handle::Spool;
use super::paths::{self, for_each_folder};
use super::settle::settle_all;
use super::survey::View;
use super::{names, owners, released, repair, users};
use crate::message::Stored;
use crate::name::Name;
use crate::store::{Finding, MailboxState, Restoring, StoreError};
use crate::sys::file;

/// Reports files that do not belong in the mailbox folders, and damaged files of names.
pub(super) fn layout(spool: &Spool) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for_each_folder(&spool.paths.mail, |dir, folder, names| {
        for name in names {
            let what = match Name::new(&name) {
                Ok(name) if *paths::folder(&name) == *folder => continue,
                Ok(_) => "a mailbox in the wrong folder, where requests do not find it",
                Err(_) if paths::is_ids_file(&name) => continue,
                Err(_) if is_left_over(&name) => {
                    "left over from an unfinished repair or copy; it can be removed"
                }
                Err(_) => "not a mailbox",
            };
            findings.push(Finding {
                place: dir
                    .path_of(&String::from_utf8_lossy(&name))
                    .display()
                    .to_string(),
                offset: 0,
                what: what.into(),
            });
        }
        Ok(())
    })?;
    findings.extend(users::check(spool)?);
    findings.extend(owners::check(spool)?);
    Ok(findings)
}

fn is_left_over(name: &[u8]) -> bool {
    name.starts_with(b".") && name.ends_with(b".new")
}

/// Removes the temporary files of unfinished repairs and imports. No other process may use the spool.
pub(super) fn tidy(spool: &Spool) -> Result<(), StoreError> {
    for root in [&spool.paths.mail, &spool.paths.users] {
        for_each_folder(root, |dir, _, names| {
            for name in names.iter().filter(|name| is_left_over(name)) {
                let name = String::from_utf8_lossy(name);
                dir.remove(&name)
                    .map_err(StoreError::system("remove", dir.path_of(&name)))?;
            }
            Ok(())
        })?;
    }
    names::discard(spool)?;
    settle_all(spool)?;
    released::tidy(spool)
}

/// Reads every byte of every message in the mailbox of `of` and reports damage.
pub(super) fn mailbox(spool: &Spool, of: &Name) -> Result<Vec<Finding>, StoreError> {
    let Some(view) = View::open(spool, of)? else {
        return Ok(Vec::new());
    };
    let read = |e| StoreError::system("read", &view.path)(e);
    let mut findings = Vec::new();
    let mut find = |offset, what: String| {
        findings.push(Finding {
            place: view.path.display().to_string(),
            offset,
            what,
        })
    };
    if !view.writable {
        find(0, "read-only, since a sync to the disk failed".into());
    }
    let Some(header) = view.header else {
        if view.headless {
            find(
                0,
                "both its headers are invalid, but it has messages".into(),
            );
        } else if view.len > 0 {
            find(0, "it contains neither a header nor a message".into());
        }
        return Ok(findings);
    };
    if view.unwritten {
        find(
            0,
            "it has no header; all its messages count as unread".into(),
        );
    } else if view.one_slot_bad {
        find(0, "one of its two headers is invalid".into());
    }
    if !header.is_sane(view.len) {
        find(
            0,
            "the offsets in its header are out of order or beyond the end of the file".into(),
        );
    }
    let torn = end::last_seq(&view.file, &header, view.len)
        .map_err(read)?
        .is_none();
    let mut last = header.kept_seq;
    let mut walk = Walk::new(header.epoch, header.kept_offset, view.len);
    let mut boundary = header.kept_offset == header.acked_offset || !header.is_sane(view.len);
    loop {
        match walk.step(&view.file).map_err(read)? {
            Step::Record { offset, end, seq } => {
                if seq <= last {
                    find(offset, format!("message {seq} comes after message {last}"));
                }
                last = seq;
                boundary |= end == header.acked_offset;
            }
            Step::Bad { offset, end } if torn && end == view.len => {
                find(
                    offset,
                    format!("the last write was cut off: {} bytes", end - offset),
                );
            }
            Step::Bad { offset, end } => {
                // A running daemon may have dropped this history since the view was taken.
                if !forgotten(spool, of, end)? {
                    find(offset, format!("damaged up to byte {end}"));
                }
                boundary |= end == header.acked_offset;
            }
            Step::End => break,
        }
    }
    if !boundary {
        find(
            header.acked_offset,
            "the header refers to a message here, but none begins here".into(),
        );
    }
    Ok(findings)
}

/// Returns whether history up to the offset `end` has been dropped since.
fn forgotten(spool: &Spool, of: &Name, end: u64) -> Result<bool, StoreError> {
    let now = View::open(spool, of)?;
    Ok(now
        .and_then(|view| view.header)
        .is_none_or(|header| header.kept_offset >= end))
}

/// Rewrites the mailbox of `of` if bad bytes precede a valid record. A power cut leaves them in place of a message that
/// was not accepted, before one that was in the journal already. A read-only mailbox stays unchanged.
pub(super) fn close_gaps(spool: &Spool, of: &Name) -> Result<(), StoreError> {
    let Some(view) = View::open(spool, of)? else {
        return Ok(());
    };
    let Some(header) = view.header.filter(|_| view.writable) else {
        return Ok(());
    };
    let mut walk = Walk::new(header.epoch, header.kept_offset, view.len);
    let mut gap = None;
    loop {
        match walk
            .step(&view.file)
            .map_err(StoreError::system("read", &view.path))?
        {
            Step::Bad { offset, end } => gap = gap.or(Some((offset, end))),
            Step::Record { .. } => {
                if let Some((from, to)) = gap {
                    log::warn!(
                        "mailbox {}: bytes {from} to {to} contain no valid message, as after a power cut; rewriting it \
                         (unless all zero, these bytes go to quarantine)",
                        view.path.display()
                    );
                    return repair(spool, of);
                }
            }
            Step::End => return Ok(()),
        }
    }
}

/// Rewrites the mailbox of `of` with its valid records. Damaged regions are copied to quarantine.
pub(super) fn repair(spool: &Spool, of: &Name) -> Result<(), StoreError> {
    let Some(view) = View::open(spool, of)? else {
        return Ok(());
    };
    let path = &view.path;
    if !view.writable {
        // After a failed sync the page cache may differ from the disk. The disk is authoritative.
        file::forget_cached(&view.file).map_err(StoreError::system("read anew", path))?;
    }
    let header = match view.header.filter(|_| !view.unwritten) {
        Some(header) => header.within(view.len),
        None => match repair::rebuilt_header(&view.file, path, view.len)? {
            Some(header) => header,
            None => return spool.remove_mailbox(of),
        },
    };
    compact(spool, of, &view.file, &header)
}

/// A mailbox that is being restored.
#[derive(Debug)]
pub(super) struct Restore<'s> {
    writer: MailboxWriter<'s>,
    acked: u64,
}

impl<'s> Restore<'s> {
    /// Starts to restore the mailbox of `of`, which has this state.
    ///
    /// # Errors
    /// [`StoreError::Exists`]; [`StoreError::Order`] if the acknowledged number is too large; I/O errors.
    pub(super) fn begin(
        spool: &'s Spool,
        of: &Name,
        state: MailboxState,
    ) -> Result<Self, StoreError> {
        let MailboxState { acked, used } = state;
        if acked > LARGEST_SEQ {
            return Err(StoreError::Order {
                seq: acked,
                last: LARGEST_SEQ,
            });
        }
        if let Some(view) = View::open(spool, of)? {
            return Err(StoreError::Exists(view.path.display().to_string()));
        }
        let mut writer = MailboxWriter::begin(spool, of)?;
        writer.kept_from_here();
        if used {
            writer.set_used();
        }
        Ok(Self { writer, acked })
    }
}

impl Restoring for Restore<'_> {
    fn push(&mut self, message: &Stored<'_>) -> Result<(), StoreError> {
        self.writer.push(message, message.seq <= self.acked)
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.writer.finish(self.acked)
    }
}
