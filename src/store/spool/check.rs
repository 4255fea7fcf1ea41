//! Whether a spool is what it should be, and making it so.

use super::compact::{LARGEST_SEQ, MailboxWriter, compact};
use super::format::end;
use super::format::walk::{Step, Walk};
use super::handle::Spool;
use super::paths::{self, for_each_folder};
use super::repair;
use super::survey::View;
use crate::message::Stored;
use crate::name::Name;
use crate::store::{Finding, Restoring, StoreError};
use crate::sys::file;

/// What is wrong with the directories: files that have no business there.
///
/// # Errors
/// Those of the system.
pub(super) fn layout(spool: &Spool) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for_each_folder(&spool.paths.mail, |dir, folder, names| {
        for name in names {
            let what = match Name::new(&name) {
                Ok(name) if *paths::folder(&name) == *folder => continue,
                Ok(_) => "a mailbox in the wrong folder: no request finds it",
                Err(_) if is_left_over(&name) => {
                    "what an unfinished repair or copy has left; it can be removed"
                }
                Err(_) => "no mailbox",
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
    Ok(findings)
}

fn is_left_over(name: &[u8]) -> bool {
    name.starts_with(b".") && name.ends_with(b".new")
}

/// Removes what unfinished repairs and imports have left. Nobody else may work on the spool.
///
/// # Errors
/// Those of the system.
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
    Ok(())
}

/// What is wrong with the mailbox of `of`. Every byte that belongs to a message is read.
///
/// # Errors
/// Those of the system.
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
        find(
            0,
            "read-only, since the disk failed to keep something of it".into(),
        );
    }
    let Some(header) = view.header else {
        if view.headless {
            find(
                0,
                "both its headers are invalid, and it has messages".into(),
            );
        } else if view.len > 0 {
            find(0, "neither a header nor a message is in it".into());
        }
        return Ok(findings);
    };
    if view.unwritten {
        find(0, "it has no header, so that all its messages wait".into());
    } else if view.one_slot_bad {
        find(0, "one of its two headers is invalid".into());
    }
    if !header.is_sane(view.len) {
        find(0, "its header points behind its end, or backwards".into());
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
                // On a running daemon's spool it may have been forgotten since.
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
            "the header says that a message begins here, and none does".into(),
        );
    }
    Ok(findings)
}

/// Whether what ends at `end` has been given back by now.
fn forgotten(spool: &Spool, of: &Name, end: u64) -> Result<bool, StoreError> {
    let now = View::open(spool, of)?;
    Ok(now
        .and_then(|view| view.header)
        .is_none_or(|header| header.kept_offset >= end))
}

/// Writes the mailbox of `of` anew if there are bad bytes before a record: those of a message that nobody accepted, before
/// one that was in the journal already when the power was cut. One that is read-only stays as it is.
///
/// # Errors
/// Those of the system.
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
                        "mailbox {}: bytes {from} to {to} hold no message, as after a power cut; it is written anew, and \
                         what is in them, unless it is zeros, goes to quarantine",
                        view.path.display()
                    );
                    return repair(spool, of);
                }
            }
            Step::End => return Ok(()),
        }
    }
}

/// Writes the mailbox of `of` anew with what is valid in it.
///
/// # Errors
/// Those of the system.
pub(super) fn repair(spool: &Spool, of: &Name) -> Result<(), StoreError> {
    let Some(view) = View::open(spool, of)? else {
        return Ok(());
    };
    let path = &view.path;
    if !view.writable {
        // What the disk has counts, and not what the kernel thinks that it has.
        file::forget_cached(&view.file).map_err(StoreError::system("read anew", path))?;
    }
    let header = match view.header.filter(|_| !view.unwritten) {
        Some(header) => header.within(view.len),
        None => match repair::rebuilt_header(&view.file, path, view.len)? {
            Some(header) => header,
            None => return spool.remove_mailbox(of),
        },
    };
    let mut walk = Walk::new(header.epoch, header.kept_offset, view.len);
    loop {
        match walk
            .step(&view.file)
            .map_err(StoreError::system("read", path))?
        {
            Step::Bad { offset, end } => {
                repair::quarantine(&spool.paths, of, &view.file, offset, end)?;
            }
            Step::Record { .. } => {}
            Step::End => break,
        }
    }
    compact(spool, of, &view.file, &header)
}

/// A mailbox that is being restored.
#[derive(Debug)]
pub(super) struct Restore<'s> {
    writer: MailboxWriter<'s>,
    acked: u64,
}

impl<'s> Restore<'s> {
    /// Begins the mailbox of `of`.
    ///
    /// # Errors
    /// When there is one already; those of the system.
    pub(super) fn begin(spool: &'s Spool, of: &Name, acked: u64) -> Result<Self, StoreError> {
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
