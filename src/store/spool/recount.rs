//! Counts what open clients use, from the disk, and corrects the counters that all processes share (`budget.rs`).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::format::header::Header;
use super::format::record::{self, HEAD};
use super::handle::Spool;
use super::paths::for_each_folder;
use super::survey::View;
use super::user_files;
use crate::message::Trust;
use crate::name::Name;
use crate::store::{OpenUsage, StoreError};
use crate::sys::dir::Dir;
use crate::sys::file;

/// The shortest and the longest pause between two counts. The counters are off for up to the longest one if an operator
/// has removed something, and for the shortest after open clients have added something.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// How often a count during which something was added is repeated.
const MORE_COUNTS: usize = 3;
/// A pause is at least this many times as long as the count before it.
const REST: u32 = 50;
/// The number of bytes that are read at a time of a mailbox whose records are small.
const CHUNK: usize = 4_096;

/// Counts again and again, until the process is killed.
///
/// # Errors
/// System errors.
pub(super) fn run(spool: &Spool) -> Result<(), StoreError> {
    let Some(usage) = spool.budgets.usage() else {
        return Ok(());
    };
    let mut waiting = Known::default();
    loop {
        let begun = Instant::now();
        let (mut before, mut counted) = (values(usage), count(spool, &mut waiting)?);
        // What was added meanwhile may be counted or not. On a spool that is not under load, the next count is exact.
        for _ in 0..MORE_COUNTS {
            if values(usage) == before {
                break;
            }
            (before, counted) = (values(usage), count(spool, &mut waiting)?);
        }
        for budget in Budget::ALL {
            let (counter, counted) = (budget.of(usage), *budget.of(&counted));
            let earlier = *budget.of(&before);
            // Under load, what was added meanwhile counts twice until the next count.
            let _ = counter.fetch_update(Relaxed, Relaxed, |now| {
                Some(counted + now.saturating_sub(earlier))
            });
        }
        let at_last = values(usage);
        let shortest = PAUSE.0.max(begun.elapsed() * REST);
        let ended = Instant::now();
        loop {
            std::thread::sleep(shortest.min(PAUSE.1));
            if values(usage) != at_last || ended.elapsed() >= PAUSE.1 {
                break;
            }
        }
    }
}

fn values(usage: &OpenUsage<&'static AtomicU64>) -> OpenUsage<u64> {
    OpenUsage {
        mailboxes: usage.mailboxes.load(Relaxed),
        bytes: usage.bytes.load(Relaxed),
        names: usage.names.load(Relaxed),
        leases: usage.leases.load(Relaxed),
        refused: usage.refused.load(Relaxed),
    }
}

/// What is known of the mailbox of a name with an owner: its epoch, where its queue begins and ends, and the size of the
/// messages of open clients in it.
type Known = HashMap<Name, Counted>;

#[derive(Clone, Copy, Debug)]
struct Counted {
    epoch: u32,
    begin: u64,
    end: u64,
    open: u64,
}

/// Returns what open clients use.
///
/// # Errors
/// System errors. A mailbox that cannot be read counts as empty.
fn count(spool: &Spool, known: &mut Known) -> Result<OpenUsage<u64>, StoreError> {
    let mut usage = OpenUsage::default();
    let mut owned = HashSet::new();
    for_each_folder(&spool.paths.users, |_, _, files| {
        let before = owned.len();
        owned.extend(
            files
                .iter()
                .filter_map(|file| user_files::owner_of_file(file)),
        );
        let names = files.iter().filter_map(|file| Name::new(file).ok());
        // The owner record of a name is in the same folder as its registration.
        usage.names += if owned.len() == before {
            names.count() as u64
        } else {
            names.filter(|name| !owned.contains(name)).count() as u64
        };
        Ok(())
    })?;
    for_each_folder(&spool.paths.mail, |folder, _, files| {
        for name in files.iter().filter_map(|file| Name::new(file).ok()) {
            if owned.contains(&name) {
                usage.bytes += waiting(spool, &name, known).unwrap_or_default();
            } else {
                usage.mailboxes += 1;
                usage.bytes += allocated(folder, &name)?;
            }
        }
        Ok(())
    })?;
    known.retain(|name, _| owned.contains(name));
    if let Ok(run) = spool.paths.run() {
        let online = &run.online;
        let names = online
            .names()
            .map_err(StoreError::system("read", online.path()))?;
        let names = names.iter().filter_map(|name| Name::new(name).ok());
        usage.leases = names.filter(|name| !owned.contains(name)).count() as u64;
    }
    Ok(usage)
}

fn allocated(folder: &Dir, name: &Name) -> Result<u64, StoreError> {
    folder
        .allocated(name.as_str())
        .map_err(StoreError::system("look at", folder.path_of(name.as_str())))
}

/// Returns the size of the waiting messages of open clients in the mailbox of `name`. Reads only what is new since the
/// last call.
fn waiting(spool: &Spool, name: &Name, known: &mut Known) -> Result<u64, StoreError> {
    let Some(view) = View::open(spool, name)? else {
        return Ok(0);
    };
    let Some(header) = view.sound_header()? else {
        return Ok(0);
    };
    let before = known.get(name).copied();
    let before = before.filter(|before| {
        before.epoch == header.epoch
            && before.begin == header.acked_offset
            && before.end <= view.len
    });
    let mut counted = before.unwrap_or(Counted {
        epoch: header.epoch,
        begin: header.acked_offset,
        end: header.acked_offset,
        open: 0,
    });
    let of_open = open_bytes(&view.file, &header, counted.end, view.len);
    counted.open += of_open.map_err(StoreError::system("read", &view.path))?;
    counted.end = view.len;
    known.insert(name.clone(), counted);
    Ok(counted.open)
}

/// Returns the size of the records of open clients between two offsets. Reads their heads only. Stops at damage.
fn open_bytes(file: &File, header: &Header, mut offset: u64, end: u64) -> io::Result<u64> {
    let mut open = 0;
    let (mut bytes, mut bytes_at, mut len) = ([0; CHUNK], offset, 0);
    while offset < end {
        let mut at = usize::try_from(offset - bytes_at).unwrap_or(usize::MAX);
        if at.saturating_add(HEAD) > len {
            (bytes_at, at) = (offset, 0);
            len = file::read_at(file, &mut bytes, offset)?;
        }
        let Some(head) = record::decode_head(&bytes[at..len], header.epoch, offset) else {
            break;
        };
        let record = head.record_len() as u64;
        open += if head.trust == Trust::Open { record } else { 0 };
        offset += record;
    }
    Ok(open)
}
