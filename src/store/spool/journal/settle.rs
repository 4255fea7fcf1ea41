//! Bringing what is in the journal to the disk where it belongs: in the mailboxes.
//!
//! Mostly it is there in the page cache, and only has to be waited for. After a power cut it is not, and is written
//! once more, to the same place.

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
use crate::store::spool::lock::lock;
use crate::store::spool::mailbox::sync;
use crate::store::spool::repair;
use crate::sys::clock::unix_millis;
use crate::sys::file;

/// How much what the kernel remembers of a mailbox can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageCache {
    /// Nobody but us has waited for the disk, or all who did have said what came of it.
    Trusted,
    /// Somebody may have been told that the disk has failed, and may have died of something before that was noted.
    Suspect,
}

/// How much was settled.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    /// Entries that were there.
    pub(super) entries: usize,
    /// Those of them that had to be written to their mailboxes again.
    pub(super) written: usize,
    /// Those that have no place in their mailboxes any more, and are in quarantine.
    pub(super) set_aside: usize,
    /// The mailboxes that had to be written to.
    pub(super) mended: Vec<Name>,
    /// What could not be settled: it must stay in the journal.
    pub(super) failed: Vec<(Name, StoreError)>,
}

/// What is in a segment, by mailbox.
#[derive(Debug, Default)]
pub(super) struct SegmentContents<'b> {
    pub(super) by_name: BTreeMap<&'b [u8], Vec<JournalEntry<'b>>>,
    /// Whether there is something that is no batch before one that is.
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
            // Checked when it was decoded.
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

/// Brings all that is in a segment to the mailboxes, on the disk, and empties it. What has no place any more goes to
/// quarantine.
///
/// # Errors
/// Those of the system, of the first mailbox for which there was one; all others are settled. Then the segment is as it
/// was.
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
            "somebody else has written to it",
        ));
    }
    for (name, e) in &settled.failed {
        log::error!("what the journal has for the mailbox of {name} stays there: {e}");
    }
    match settled.failed.into_iter().next() {
        Some((_, e)) => Err(e),
        None => segments::clear(segment).map_err(StoreError::system("empty", path)),
    }
}

/// Brings all that is in a segment of `log` to the mailboxes, on the disk, and empties it.
///
/// # Errors
/// Those of the system. Then it is all still there.
pub(super) fn empty(
    spool: &Spool,
    log: &JournalLog,
    segment: usize,
    cache: PageCache,
) -> Result<(), StoreError> {
    let path = spool.journal.path().join(segments::NAMES[segment]);
    settle(spool, log.file(segment), &path, cache)
}

/// Settles what a mailbox has in a segment; how much had to be written, and how much is in quarantine instead.
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
        // Most of the wait for the disk is over before the lock is taken. An error marks the mailbox as read-only.
        let _ = sync(&file, &path);
    }
    let found = {
        let _lock = lock(&spool.paths, name)?;
        let Some(file) = open(spool, name, &path, cache)? else {
            set_aside(spool, name, &all(), "there is no such mailbox any more")?;
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
            // Outside the lock: nobody has to wait for the disk who does not want to.
            sync(&file, &path)?;
            if !header.named {
                spool.sync_name(name)?;
            }
            if !misplaced.is_empty() {
                set_aside(spool, name, &misplaced, "another message is in its place")?;
            }
            Ok((written, misplaced.len()))
        }
        Err(why) => {
            set_aside(spool, name, &all(), why)?;
            Ok((0, entries.len()))
        }
    }
}

/// Opens a mailbox to write to it, with its lock held, so that it shows what is to be trusted; `None` when there is none.
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
    let forget = StoreError::system("read anew", path);
    if facts.writable {
        sync(&file, path)?;
        file::forget_cached(&file).map_err(forget)?;
        return Ok(Some(file));
    }
    // The disk has failed: what the kernel remembers is not what is there. And it stays read-only for all others, until
    // somebody has looked at it.
    file::forget_cached(&file).map_err(forget)?;
    file::make_writable(&file).map_err(StoreError::system("chmod", path))?;
    let opened = open();
    file::make_read_only(&file).map_err(StoreError::system("chmod", path))?;
    opened
}

/// Writes what is not there, as nobody appends; how much that was, and what has another message in its place.
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
    // A mailbox that was written anew was so with all that was in it, on the disk. And what was acknowledged, and given
    // back, need not come again.
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

/// Whether the record from `from` to `to` lies where this entry belongs, in whose place `there` is, and is none of its own.
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

/// Where the records of a mailbox begin and end.
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

/// Puts entries into quarantine: the records of each, one behind the other.
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
        "the journal has something for the mailbox of {name} that cannot be put there: {why}; it is in {}",
        spool.paths.quarantine.path_of(&copy).display()
    );
    Ok(())
}

/// Writes a file in the quarantine.
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
