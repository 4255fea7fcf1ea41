//! Settling a segment of the journal: its entries become durable in their mailboxes, and the segment becomes empty.
//!
//! Usually the records are in the page cache of the mailbox, which only has to be synced. After a power cut they may be
//! missing, and are written again at the same offset.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::entry::JournalEntry;
use super::segments::{self, JournalLog};
use crate::name::Name;
use crate::store::StoreError;
use crate::store::spool::format::header::Header;
use crate::store::spool::format::walk::{Step, Walk};
use crate::store::spool::handle::Spool;
use crate::store::spool::lock::{CARE_TIMEOUT, lock_within};
use crate::store::spool::mailbox::sync;
use crate::store::spool::repair;
use crate::sys::clock::unix_millis;
use crate::sys::file;

/// Whether the page cache of a mailbox can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageCache {
    /// Every process that synced the mailbox has recorded a disk error, if there was one.
    Trusted,
    /// A process may have received a disk error and died before it made the mailbox read-only.
    Suspect,
}

/// The result of settling the entries of a segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    /// The number of entries.
    pub(super) entries: usize,
    /// The number of entries that had to be written to their mailboxes again.
    pub(super) written: usize,
    /// The number of entries that no longer have a place in their mailboxes and went to quarantine.
    pub(super) set_aside: usize,
    /// The mailboxes that were written to.
    pub(super) mended: Vec<Name>,
    /// The mailboxes that failed. Their entries must stay in the journal.
    pub(super) failed: Vec<(Name, StoreError)>,
}

/// The entries of a segment, by mailbox.
#[derive(Debug, Default)]
pub(super) struct SegmentContents<'b> {
    pub(super) by_name: BTreeMap<&'b [u8], Vec<JournalEntry<'b>>>,
    /// Whether the segment is damaged, see [`segments::entries`].
    pub(super) is_damaged: bool,
}

impl<'b> SegmentContents<'b> {
    pub(super) fn of(segment: &'b [u8]) -> Self {
        let mut by_name: BTreeMap<&[u8], Vec<JournalEntry<'_>>> = BTreeMap::new();
        let is_damaged = segments::entries(segment, |entry| {
            if let Some(entry) = JournalEntry::decode(entry) {
                by_name.entry(entry.name).or_default().push(entry);
            }
        });
        Self {
            by_name,
            is_damaged,
        }
    }

    pub(super) fn settle(&self, spool: &Spool, cache: PageCache) -> Settled {
        let mut settled = Settled::default();
        for (name, entries) in &self.by_name {
            // Cannot fail: JournalEntry::decode() has checked the name.
            let Ok(name) = Name::new(name) else { continue };
            settled.entries += entries.len();
            match settle_mailbox(spool, &name, entries, cache) {
                Ok((written, set_aside)) => {
                    settled.set_aside += set_aside;
                    settled.written += written;
                    settled.mended.extend((written > 0).then_some(name));
                }
                Err(e) => settled.failed.push((name, e)),
            }
        }
        settled
    }
}

/// Makes all entries of a segment durable in their mailboxes, and empties the segment. Entries that no longer have a
/// place in their mailboxes go to quarantine.
///
/// # Errors
/// The first error of a mailbox, after all others are settled; damage; system errors. The segment is then unchanged.
pub(super) fn settle(
    spool: &Spool,
    segment: &File,
    path: &Path,
    cache: PageCache,
) -> Result<(), StoreError> {
    let Some(bytes) = segments::read(segment).map_err(StoreError::system("read", path))? else {
        return Ok(());
    };
    let contents = SegmentContents::of(&bytes);
    let settled = contents.settle(spool, cache);
    if contents.is_damaged {
        return Err(StoreError::damaged(
            path,
            0,
            "another process has written to it",
        ));
    }
    for (name, e) in &settled.failed {
        log::error!("cannot apply the journal to the mailbox of {name}; it keeps the entries: {e}");
    }
    match settled.failed.into_iter().next() {
        Some((_, e)) => Err(e),
        None => segments::clear(segment).map_err(StoreError::system("empty", path)),
    }
}

/// Settles a segment of `log`, with the errors of [`settle()`].
pub(super) fn empty(
    spool: &Spool,
    log: &JournalLog,
    segment: usize,
    cache: PageCache,
) -> Result<(), StoreError> {
    let path = spool.journal.path().join(segments::NAMES[segment]);
    settle(spool, log.file(segment), &path, cache)
}

/// Settles the entries of one mailbox. Returns how many had to be written, and how many went to quarantine instead.
fn settle_mailbox(
    spool: &Spool,
    name: &Name,
    entries: &[JournalEntry<'_>],
    cache: PageCache,
) -> Result<(usize, usize), StoreError> {
    let path = spool.paths.mailbox_path(name);
    let all = || entries.iter().collect::<Vec<_>>();
    if cache == PageCache::Suspect
        && let Some(file) = spool.paths.mailbox(name)?
    {
        // Do most of the wait for the disk before the lock is taken. sync() makes the mailbox read-only on an error.
        let _ = sync(&file, &path);
    }
    let found = {
        let _lock = lock_within(&spool.paths, name, CARE_TIMEOUT)?;
        let Some(file) = open(spool, name, &path, cache)? else {
            set_aside(spool, name, &all(), "the mailbox no longer exists")?;
            return Ok((0, entries.len()));
        };
        let len = file::facts(&file)
            .map_err(StoreError::system("look at", &path))?
            .len;
        match repair::header(&file, &path, len) {
            Ok(Some(header)) => {
                let (written, misplaced) = restore(&file, &path, &header, len, entries)?;
                Ok((file, header, written, misplaced))
            }
            Ok(None) => Err("the mailbox is empty"),
            Err(StoreError::Damaged { what, .. }) => Err(what),
            Err(e) => return Err(e),
        }
    };
    match found {
        Ok((file, header, written, misplaced)) => {
            // Without the lock, so that other processes can use the mailbox while this one waits for the disk.
            sync(&file, &path)?;
            if !header.named {
                spool.sync_name(name)?;
            }
            if !misplaced.is_empty() {
                set_aside(spool, name, &misplaced, "another message is in their place")?;
            }
            Ok((written, misplaced.len()))
        }
        Err(why) => {
            set_aside(spool, name, &all(), why)?;
            Ok((0, entries.len()))
        }
    }
}

/// Opens a mailbox for writing, and drops its page cache if that is not trusted; `None` when there is no such mailbox.
/// The caller holds the lock of the mailbox.
fn open(
    spool: &Spool,
    name: &Name,
    path: &Path,
    cache: PageCache,
) -> Result<Option<File>, StoreError> {
    let open = || spool.paths.mailbox(name);
    let Some(file) = open()? else {
        return Ok(None);
    };
    let facts = file::facts(&file).map_err(StoreError::system("look at", path))?;
    if facts.writable && cache == PageCache::Trusted {
        return Ok(Some(file));
    }
    let forget = StoreError::system("reread", path);
    if facts.writable {
        sync(&file, path)?;
        file::forget_cached(&file).map_err(forget)?;
        return Ok(Some(file));
    }
    // The disk has failed, so the page cache may differ from it. The mailbox must stay read-only for other processes
    // until an operator repairs it: make it writable for this open(2) only.
    file::forget_cached(&file).map_err(forget)?;
    file::make_writable(&file).map_err(StoreError::system("chmod", path))?;
    let opened = open();
    file::make_read_only(&file).map_err(StoreError::system("chmod", path))?;
    opened
}

/// Writes the entries that are missing from a mailbox, whose lock the caller holds. Returns how many were missing, and
/// the entries that have another message in their place.
fn restore<'e, 'b>(
    file: &File,
    path: &Path,
    header: &Header,
    len: u64,
    entries: &'e [JournalEntry<'b>],
) -> Result<(usize, Vec<&'e JournalEntry<'b>>), StoreError> {
    let read = |e| StoreError::system("read", path)(e);
    let mut written = 0;
    let mut misplaced = Vec::new();
    let mut others = None;
    let mut there = Vec::new();
    // A rewritten mailbox has another epoch, and its messages are durable. Acknowledged messages that were given back
    // are not needed again.
    let entries = entries
        .iter()
        .filter(|entry| entry.epoch == header.epoch && entry.end() > header.kept_offset);
    for entry in entries {
        there.clear();
        there.resize(entry.records.len(), 0);
        let n = file::read_at(file, &mut there, entry.offset).map_err(read)?;
        if there[..n] == *entry.records {
            continue;
        }
        let others = match &others {
            Some(others) => others,
            None => others.insert(records(file, header, len).map_err(read)?),
        };
        if others
            .iter()
            .any(|&(from, to)| is_foreign(entry, &there, from, to))
        {
            misplaced.push(entry);
            continue;
        }
        file::write_at(file, entry.records, entry.offset)
            .map_err(StoreError::system("write", path))?;
        written += 1;
    }
    Ok((written, misplaced))
}

/// Returns whether the record from `from` to `to` overlaps the place of this entry and is none of its records. `there`
/// is the present contents of that place.
fn is_foreign(entry: &JournalEntry<'_>, there: &[u8], from: u64, to: u64) -> bool {
    if to <= entry.offset || entry.end() <= from {
        return false;
    }
    let part = |bytes: &[u8]| {
        let from = usize::try_from(from.checked_sub(entry.offset)?).ok()?;
        let to = usize::try_from(to - entry.offset).ok()?;
        bytes.get(from..to).map(<[u8]>::to_vec)
    };
    part(entry.records).is_none_or(|ours| part(there) != Some(ours))
}

/// Returns the beginning and end of each record in a mailbox.
fn records(file: &File, header: &Header, len: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut all = Vec::new();
    let mut walk = Walk::new(header.epoch, header.kept_offset, len);
    loop {
        match walk.step(file)? {
            Step::Record { offset, end, .. } => all.push((offset, end)),
            Step::Bad { .. } => {}
            Step::End => return Ok(all),
        }
    }
}

/// Writes the records of these entries to one file in the quarantine.
pub(super) fn set_aside(
    spool: &Spool,
    name: &Name,
    entries: &[&JournalEntry<'_>],
    why: &str,
) -> Result<(), StoreError> {
    let first = entries.first().map_or(0, |entry| entry.offset);
    let copy = format!("{name}@{first}.{}.journal", unix_millis());
    let records: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry.records.iter().copied())
        .collect();
    keep(spool, &copy, &records)?;
    log::error!(
        "journal entries for the mailbox of {name} cannot be written to it: {why}; they are in {}",
        spool.paths.quarantine.path_of(&copy).display()
    );
    Ok(())
}

/// Writes a file in the quarantine, durably.
pub(super) fn keep(spool: &Spool, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || {
        let file = spool.paths.quarantine.file_or_new(name)?;
        file::truncate(&file, 0)?;
        file::write_at(&file, bytes, 0)?;
        file::sync(&file)?;
        spool.paths.quarantine.sync()
    };
    write().map_err(StoreError::system(
        "write",
        spool.paths.quarantine.path_of(name),
    ))
}
