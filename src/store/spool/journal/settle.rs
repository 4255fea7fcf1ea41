//! Bringing what is in the journal to the disk where it belongs: in the mailboxes.
//!
//! Mostly it is there in the page cache, and only has to be waited for. After a power cut it is not, and is written
//! once more, to the same place.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use super::super::append::{self, lock};
use super::super::layout::Spool;
use super::super::repair;
use super::entry::{Entry, whole_at};
use super::segments;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::clock::unix_millis;
use crate::sys::file;

/// How much was settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Entries that were there.
    pub(super) entries: usize,
    /// Those of them that had to be written to their mailboxes again.
    pub(super) written: usize,
}

/// Brings all that is in a segment to the mailboxes, on the disk, and empties it. What has no place any more goes to
/// quarantine.
///
/// # Errors
/// Those of the system, of the first mailbox for which there was one; all others are settled. Then the segment is as it
/// was.
pub(super) fn settle(spool: &Spool, segment: &File, path: &Path) -> Result<Settled, StoreError> {
    let Some(bytes) = segments::read(segment).map_err(StoreError::system("read", path))? else {
        return Ok(Settled::default());
    };
    let mut by_name: BTreeMap<&[u8], Vec<Entry<'_>>> = BTreeMap::new();
    segments::entries(&bytes, |entry| {
        if let Some(entry) = Entry::decode(entry) {
            by_name.entry(entry.name).or_default().push(entry);
        }
    });
    let mut settled = Settled::default();
    let mut failed = Ok(());
    for (name, entries) in by_name {
        // Checked when it was decoded.
        let Ok(name) = Name::new(name) else { continue };
        settled.entries += entries.len();
        match settle_mailbox(spool, &name, &entries) {
            Ok(Found::Place { written }) => settled.written += written,
            Ok(Found::NoPlace(why)) => set_aside(spool, &name, &entries, why)?,
            Err(e) => {
                log::error!("what the journal has for the mailbox of {name} stays there: {e}");
                failed = failed.and(Err(e));
            }
        }
    }
    failed?;
    segments::clear(segment).map_err(StoreError::system("empty", path))?;
    Ok(settled)
}

/// As [`settle`], for a journal that was left behind. What the disk refuses to take goes to quarantine as it is.
///
/// # Errors
/// Those of the system, when the disk is full above all. Then the segment is as it was.
pub(super) fn recover(spool: &Spool, segment: &File, path: &Path) -> Result<(), StoreError> {
    match settle(spool, segment, path) {
        Ok(Settled { entries: 0, .. }) => Ok(()),
        Ok(settled) => {
            log::info!(
                "the journal {} was left with {} messages, {} of which were not in their mailboxes: now they are",
                path.display(),
                settled.entries,
                settled.written
            );
            Ok(())
        }
        Err(e @ StoreError::DiskFull(_)) => Err(e),
        Err(e) => {
            let read = segments::read(segment).map_err(StoreError::system("read", path))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let copy = format!("journal.{name}@{}", unix_millis());
            keep(spool, &copy, &read.unwrap_or_default())?;
            log::error!(
                "{e}; all that the journal {} had is in {} as well: check the disk",
                path.display(),
                spool.quarantine.path_of(&copy).display()
            );
            segments::clear(segment).map_err(StoreError::system("empty", path))
        }
    }
}

/// What was found in a mailbox.
enum Found {
    /// What was not there is there now.
    Place {
        /// How many entries that were.
        written: usize,
    },
    /// Something else. Why it cannot be written there.
    NoPlace(&'static str),
}

fn settle_mailbox(spool: &Spool, name: &Name, entries: &[Entry<'_>]) -> Result<Found, StoreError> {
    let place = Spool::place(name);
    let path = spool.mail().path_of(&place);
    let open = || {
        let file = spool.mail().file(&place);
        file.map_err(StoreError::system("open", &path))
    };
    let Some(mut file) = open()? else {
        return Ok(Found::NoPlace("there is no such mailbox any more"));
    };
    let facts = file::facts(&file).map_err(StoreError::system("look at", &path))?;
    if !facts.writable {
        // The disk has failed: what the kernel remembers is not what is there.
        file::forget_cached(&file)
            .and_then(|()| file::make_writable(&file))
            .map_err(StoreError::system("write anew to", &path))?;
        file = open()?.unwrap_or(file);
    }
    let found = restore(spool, name, &file, &path, entries).and_then(|found| {
        // Outside the lock, as nobody else has to wait for it.
        append::sync(&file, &path).map(|()| found)
    });
    if !facts.writable {
        // It stays so until somebody has looked at it.
        file::make_read_only(&file).map_err(StoreError::system("chmod", &path))?;
    }
    found
}

/// Writes what is not there, as nobody appends.
fn restore(
    spool: &Spool,
    name: &Name,
    file: &File,
    path: &Path,
    entries: &[Entry<'_>],
) -> Result<Found, StoreError> {
    let _lock = lock(spool, name)?;
    let facts = file::facts(file).map_err(StoreError::system("look at", path))?;
    let header = match repair::header(file, path, facts.len) {
        Ok(Some(header)) => header,
        Ok(None) => return Ok(Found::NoPlace("the mailbox is empty")),
        Err(StoreError::Damaged { what, .. }) => return Ok(Found::NoPlace(what)),
        Err(e) => return Err(e),
    };
    let mut written = 0;
    let mut there = Vec::new();
    // A mailbox that was written anew was so with all that was in it, on the disk. And what was acknowledged, and given
    // back, need not come again.
    let entries = entries
        .iter()
        .filter(|entry| entry.epoch == header.epoch && entry.end() > header.kept_offset);
    for entry in entries {
        there.clear();
        there.resize(entry.records.len(), 0);
        let n = file::read_at(file, &mut there, entry.offset)
            .map_err(StoreError::system("read", path))?;
        if there[..n] == *entry.records {
            continue;
        }
        if whole_at(&there[..n], entry.epoch, entry.offset).is_some() {
            return Ok(Found::NoPlace("another message is in its place"));
        }
        file::write_at(file, entry.records, entry.offset)
            .map_err(StoreError::system("write", path))?;
        written += 1;
    }
    Ok(Found::Place { written })
}

/// Puts entries into quarantine: the records of each, one behind the other.
fn set_aside(
    spool: &Spool,
    name: &Name,
    entries: &[Entry<'_>],
    why: &str,
) -> Result<(), StoreError> {
    let first = entries.first().map_or(0, |entry| entry.offset);
    let copy = format!("{name}@{first}.journal");
    let records: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry.records.iter().copied())
        .collect();
    keep(spool, &copy, &records)?;
    log::error!(
        "the journal has {} messages for {name} that cannot be put there: {why}; they are in {}",
        entries.len(),
        spool.quarantine.path_of(&copy).display()
    );
    Ok(())
}

/// Writes a file in the quarantine.
fn keep(spool: &Spool, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || {
        let file = spool.quarantine.file_or_new(name)?;
        file::truncate(&file, 0)?;
        file::write_at(&file, bytes, 0)?;
        file::sync(&file)?;
        spool.quarantine.sync()
    };
    write().map_err(StoreError::system("write", spool.quarantine.path_of(name)))
}
