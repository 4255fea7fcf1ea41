//! The index of registered names, so that a list of some names costs no read of all of them.
//!
//! `names/sorted` has all names in order, with the times of their registration. Before a name is registered, or its
//! registration removed, an entry in `names/changed` says so, durably: such a name is looked up in its own file, and a
//! crash in between loses nothing. When there are many entries, a process merges them: it renames the file to
//! `names/merging`, and replaces `names/sorted`. Readers open the three files in this order, so that they miss no entry.
//!
//! The index is made anew when it is missing or damaged, or when a program that does not know it has used the spool:
//! `names/used` has the time at which a program that knows it has last taken the spool lock.

mod entry;
mod sorted;

use std::io;
use std::time::UNIX_EPOCH;

use self::entry::{ENTRY, Entry, Kind};
use self::sorted::{Sorted, SortedWriter};
use super::handle::Spool;
use super::paths::{LOCK_TIMEOUT, OWNER};
use super::user_files;
use crate::name::Name;
use crate::store::StoreError;
use crate::sys::clock::unix_millis;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::{HeldLock, Locked};

/// The directory of the index.
const NAMES: &str = "names";
const SORTED: &str = "sorted";
const NEW_SORTED: &str = "sorted.new";
const CHANGED: &str = "changed";
const MERGING: &str = "merging";
const USED: &str = "used";
/// Its lock is held while an entry is added.
const ADD_LOCK: &str = "lock";
/// Its lock is held by the process that merges.
const MERGE_LOCK: &str = "merge";
/// The fewest and the most entries that are merged: in between an eighth of all names.
const FEWEST: u64 = 1_024;
const MOST: u64 = 16_384;
/// How often a process that adds an entry looks whether there are enough of them, in entries.
const LOOK_EVERY: u64 = 128;
/// How long a change may take that an entry has announced, in milliseconds.
const CHANGE_TIME: u64 = 3_600_000;

/// Announces durably that `name` is about to be registered.
///
/// # Errors
/// [`StoreError::Busy`] if another process keeps the lock of the index; I/O errors.
pub(super) fn registering(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    let dir = open_or_new(spool)?;
    let path = dir.path_of(CHANGED);
    let added = add(&dir, &announced(name, Kind::Registering));
    let number = added.map_err(|e| failed(e, &path))?;
    if number % LOOK_EVERY == 0 && number >= FEWEST && is_worth_merging(&dir, number) {
        merge(spool, &dir)?;
    }
    Ok(())
}

/// Announces durably that the registration of `name` is about to be removed. If that is impossible, gives up the index.
///
/// # Errors
/// I/O errors.
pub(super) fn removing(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    let Some(dir) = open(spool)? else {
        return Ok(());
    };
    match add(&dir, &announced(name, Kind::Removing)) {
        Ok(_) => Ok(()),
        Err(_) => discard_in(&dir),
    }
}

/// Gives up the index. It is made anew when it is needed.
///
/// # Errors
/// I/O errors.
pub(super) fn discard(spool: &Spool) -> Result<(), StoreError> {
    match open(spool)? {
        Some(dir) => discard_in(&dir),
        None => Ok(()),
    }
}

fn discard_in(dir: &Dir) -> Result<(), StoreError> {
    let removed = remove_if_any(dir, SORTED).and_then(|()| dir.sync());
    removed.map_err(StoreError::system("remove", dir.path_of(SORTED)))
}

/// Returns when a process has last taken the lock of the spool `root`, in nanoseconds since 1970; 0 if that is not known.
pub(super) fn last_use(root: &Dir) -> u64 {
    let taken = || root.file(OWNER).ok()??.metadata().ok()?.modified().ok();
    let since = taken().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
}

/// Gives up the index if a program that does not know it has used the spool since. `before` is the last use before that by
/// this process.
///
/// # Errors
/// I/O errors.
pub(super) fn note_use(spool: &Spool, root: &Dir, before: u64) -> Result<(), StoreError> {
    let Some(dir) = open(spool)? else {
        return Ok(());
    };
    let note = || -> io::Result<bool> {
        let used = dir.file_or_new(USED)?;
        let mut bytes = [0; 8];
        file::read_at(&used, &mut bytes, 0)?;
        let is_last = u64::from_le_bytes(bytes) == before && before > 0;
        file::write_at(&used, &last_use(root).to_le_bytes(), 0)?;
        Ok(is_last)
    };
    match note() {
        Ok(true) => Ok(()),
        Ok(false) => discard_in(&dir),
        Err(e) => {
            log::debug!("cannot write {}: {e}", dir.path_of(USED).display());
            discard_in(&dir)
        }
    }
}

/// Passes the registered names after `after`, in order, and the times of their registration to `each`, until it returns
/// `false`.
///
/// # Errors
/// I/O errors.
pub(super) fn each(
    spool: &Spool,
    after: Option<&Name>,
    each: &mut dyn FnMut(&Name, u64) -> bool,
) -> Result<(), StoreError> {
    let dir = open_or_new(spool)?;
    let mut last = after.cloned();
    // A damaged or missing index is made anew, once.
    for _ in 0..2 {
        if let Some(mut index) = Index::open(&dir, last.as_ref())? {
            let mut passed = |name: &Name, at| {
                last = Some(name.clone());
                each(name, at)
            };
            if index.each(spool, &dir, &mut passed)? == Ended::Completely {
                return Ok(());
            }
            log::error!(
                "{} is damaged and is made anew",
                dir.path_of(SORTED).display()
            );
            discard_in(&dir)?;
        }
        if !merge(spool, &dir)? {
            break;
        }
    }
    // Another process makes it, or the disk is full.
    for name in user_files::registered_names(spool)? {
        if last.as_ref().is_some_and(|last| name <= *last) {
            continue;
        }
        if let Some(at) = registered(spool, &name)?
            && !each(&name, at)
        {
            break;
        }
    }
    Ok(())
}

/// The files of the index.
struct Index {
    sorted: Sorted,
    /// The names with announced changes, in order.
    changed: Vec<Name>,
}

/// How the iteration over an index ended.
#[derive(PartialEq, Eq)]
enum Ended {
    Completely,
    /// At damage.
    Early,
}

impl Index {
    /// Opens the index at the first name after `after`; `None` if it is missing or damaged.
    fn open(dir: &Dir, after: Option<&Name>) -> Result<Option<Self>, StoreError> {
        let open = || -> io::Result<Option<Self>> {
            let mut changed = Vec::new();
            // In this order, see the head of this file.
            for name in [CHANGED, MERGING] {
                let is_after = |entry: &Entry| after.is_none_or(|after| entry.name > *after);
                let entries = read_entries(dir, name)?.into_iter().filter(is_after);
                changed.extend(entries.map(|entry| entry.name));
            }
            changed.sort_unstable();
            changed.dedup();
            let Some(file) = dir.file(SORTED)? else {
                return Ok(None);
            };
            let Some(mut sorted) = Sorted::open(file)? else {
                return Ok(None);
            };
            let is_sound = after.map_or(Ok(true), |after| sorted.seek(after))?;
            Ok(is_sound.then_some(Self { sorted, changed }))
        };
        open().map_err(StoreError::system("read", dir.path()))
    }

    fn each(
        &mut self,
        spool: &Spool,
        dir: &Dir,
        each: &mut dyn FnMut(&Name, u64) -> bool,
    ) -> Result<Ended, StoreError> {
        let mut changed = std::mem::take(&mut self.changed).into_iter().peekable();
        loop {
            let sorted = self.sorted.peek();
            let sorted = sorted.map_err(StoreError::system("read", dir.path_of(SORTED)))?;
            let Ok(sorted) = sorted else {
                return Ok(Ended::Early);
            };
            let next = match (sorted, changed.peek()) {
                (None, None) => return Ok(Ended::Completely),
                (Some(entry), other) if other.is_none_or(|other| entry.name < *other) => None,
                (Some(entry), Some(other)) if entry.name == *other => {
                    self.sorted.pass();
                    changed.next()
                }
                _ => changed.next(),
            };
            let found = match next {
                Some(name) => registered(spool, &name)?.map(|at| (name, at)),
                None => self.sorted.pass().map(|entry| (entry.name, entry.at)),
            };
            if found.is_some_and(|(name, at)| !each(&name, at)) {
                return Ok(Ended::Completely);
            }
        }
    }
}

/// Returns when `name` was registered. A damaged registration is reported in the log.
fn registered(spool: &Spool, name: &Name) -> Result<Option<u64>, StoreError> {
    match user_files::registered(spool, name) {
        Err(e @ StoreError::Damaged { .. }) => {
            log::error!("{e}");
            Ok(None)
        }
        registered => registered,
    }
}

/// Opens the directory of the index; `None` if it does not exist.
fn open(spool: &Spool) -> Result<Option<Dir>, StoreError> {
    let root = spool.paths.root()?;
    match root.sub(NAMES) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        dir => dir
            .map(Some)
            .map_err(StoreError::system("open", root.path_of(NAMES))),
    }
}

fn open_or_new(spool: &Spool) -> Result<Dir, StoreError> {
    if let Some(dir) = open(spool)? {
        return Ok(dir);
    }
    let root = spool.paths.root()?;
    let make = || {
        root.make_dir(NAMES)?;
        root.sync()?;
        root.sub(NAMES)
    };
    let dir = make().map_err(StoreError::system("make", root.path_of(NAMES)))?;
    note_use(spool, &root, last_use(&root))?;
    Ok(dir)
}

/// Returns the entry of a change that is about to happen.
fn announced(name: &Name, kind: Kind) -> Entry {
    Entry {
        name: name.clone(),
        kind,
        at: unix_millis(),
    }
}

/// Adds an entry durably. Returns its number.
fn add(dir: &Dir, entry: &Entry) -> io::Result<u64> {
    let lock = dir.file_or_new(ADD_LOCK)?;
    let held = HeldLock::within(&lock, LOCK_TIMEOUT)?;
    let held = held.ok_or(io::ErrorKind::WouldBlock)?;
    let file = dir.file_or_new(CHANGED)?;
    // A power cut may have left a part of an entry.
    let number = file::facts(&file)?.len.div_ceil(ENTRY as u64);
    if number == 0 {
        // Once for all entries of the file.
        dir.sync()?;
    }
    file::write_at(&file, &entry.encode(), number * ENTRY as u64)?;
    drop(held);
    file::sync(&file)?;
    Ok(number)
}

fn failed(e: io::Error, path: &std::path::Path) -> StoreError {
    match e.kind() {
        io::ErrorKind::WouldBlock => StoreError::Busy,
        _ => StoreError::system("write", path)(e),
    }
}

/// Reads the entries of a file. There are none if it does not exist.
fn read_entries(dir: &Dir, name: &str) -> io::Result<Vec<Entry>> {
    let Some(file) = dir.file(name)? else {
        return Ok(Vec::new());
    };
    let len = usize::try_from(file::facts(&file)?.len).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    let n = file::read_at(&file, &mut bytes, 0)?;
    // An entry whose write was cut off announces nothing: its change has not begun.
    Ok(bytes[..n].chunks(ENTRY).filter_map(Entry::decode).collect())
}

fn is_worth_merging(dir: &Dir, entries: u64) -> bool {
    let sorted = dir.file(SORTED).ok().flatten().map(Sorted::open);
    let count = match sorted {
        Some(Ok(Some(sorted))) => sorted.count(),
        _ => 0,
    };
    entries >= (count / 8).clamp(FEWEST, MOST)
}

/// Merges the announced changes into the sorted file, or makes it anew from the registrations if it is missing or damaged.
/// Returns `false` if another process does that, or it is impossible, which the log says.
fn merge(spool: &Spool, dir: &Dir) -> Result<bool, StoreError> {
    let path = dir.path_of(SORTED);
    let lock = dir.file_or_new(MERGE_LOCK).and_then(Locked::attempt);
    let Ok(_lock) = lock.map_err(StoreError::system("lock", &path))? else {
        return Ok(false);
    };
    let merged = (|| {
        let entries = begin_merge(dir).map_err(StoreError::system("write", &path))?;
        let unfinished = write_sorted(spool, dir, &entries)?;
        finish_merge(dir, &unfinished).map_err(StoreError::system("write", &path))
    })();
    match merged {
        Ok(()) => Ok(true),
        Err(e) => {
            log::warn!("cannot write the index of names: {e}");
            Ok(false)
        }
    }
}

/// Moves the entries out of the way of new ones, and returns them, in order of the names and of time.
fn begin_merge(dir: &Dir) -> io::Result<Vec<Entry>> {
    // An interrupted merge is repeated first.
    if dir.file(MERGING)?.is_none() {
        let lock = dir.file_or_new(ADD_LOCK)?;
        let held = HeldLock::within(&lock, LOCK_TIMEOUT)?;
        let _held = held.ok_or(io::ErrorKind::WouldBlock)?;
        if dir.file(CHANGED)?.is_some() {
            dir.rename(CHANGED, MERGING)?;
        }
    }
    let mut entries = read_entries(dir, MERGING)?;
    entries.sort_by(|a, b| (&a.name, a.at).cmp(&(&b.name, b.at)));
    Ok(entries)
}

/// Writes the new sorted file under its temporary name, durably. Returns the entries whose changes may not have happened
/// yet.
fn write_sorted(spool: &Spool, dir: &Dir, entries: &[Entry]) -> Result<Vec<Entry>, StoreError> {
    let path = dir.path_of(NEW_SORTED);
    let write = |e| StoreError::system("write", &path)(e);
    let new = dir.new_file(NEW_SORTED).map_err(write)?;
    let mut writer = SortedWriter::new(&new);
    // Before the names are looked up for the file: a change in between is announced again, and not lost.
    let unfinished = unfinished(spool, entries)?;
    let mut push = |name: Name, at| {
        writer.push(&Entry {
            name,
            kind: Kind::Registered,
            at,
        })
    };
    let mut names: Vec<&Name> = entries.iter().map(|entry| &entry.name).collect();
    names.dedup();
    let old = dir
        .file(SORTED)
        .map_err(write)?
        .map_or(Ok(None), Sorted::open);
    match old.map_err(write)? {
        Some(sorted) => {
            let changed = names.into_iter().cloned().collect();
            let mut index = Index { sorted, changed };
            let mut result = Ok(());
            let ended = index.each(spool, dir, &mut |name, at| {
                result = push(name.clone(), at);
                result.is_ok()
            })?;
            result.map_err(write)?;
            if ended == Ended::Early {
                discard_in(dir)?;
                return Err(StoreError::damaged(
                    dir.path_of(SORTED),
                    0,
                    "an entry is invalid",
                ));
            }
        }
        None => {
            for name in user_files::registered_names(spool)? {
                if let Some(at) = registered(spool, &name)? {
                    push(name, at).map_err(write)?;
                }
            }
        }
    }
    writer.finish().map_err(write)?;
    Ok(unfinished)
}

/// Returns the entries whose changes may not have happened yet.
fn unfinished(spool: &Spool, entries: &[Entry]) -> Result<Vec<Entry>, StoreError> {
    let mut unfinished = Vec::new();
    let now = unix_millis();
    for entry in entries {
        let is_done = match entry.kind {
            Kind::Registered => true,
            Kind::Registering => registered(spool, &entry.name)?.is_some(),
            Kind::Removing => registered(spool, &entry.name)?.is_none(),
        };
        // A time in the future is one before the clock was set.
        let is_recent = entry.at > now || now - entry.at < CHANGE_TIME;
        if !is_done && is_recent {
            unfinished.push(entry.clone());
        }
    }
    Ok(unfinished)
}

/// Puts the new sorted file in place, and announces the `unfinished` changes again.
fn finish_merge(dir: &Dir, unfinished: &[Entry]) -> io::Result<()> {
    for entry in unfinished {
        add(dir, entry)?;
    }
    dir.rename(NEW_SORTED, SORTED)?;
    dir.sync()?;
    remove_if_any(dir, MERGING)
}

fn remove_if_any(dir: &Dir, name: &str) -> io::Result<()> {
    match dir.remove(name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
