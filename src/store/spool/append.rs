//! Appending messages: durable before it returns.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::appender::{Appender, Outcome};
use super::layout::Spool;
use super::mailbox::Header;
use super::repair::{self, Tail};
use super::{bell, end, journal, record};
use crate::name::Name;
use crate::store::{Delivery, StoreError};
use crate::sys::file::{self, Facts};
use crate::sys::lock::{Held, Locked};
use crate::sys::random;

/// Appends the messages to their mailboxes, which are made where there are none. Those to one mailbox
/// are one write, and one wait for the disk.
pub(super) fn append(spool: &Spool, batch: &[Delivery<'_>]) -> Vec<Outcome> {
    if let Err(e) = spool.room_on_disk() {
        return batch.iter().map(|_| Err(e.clone())).collect();
    }
    let mut outcomes: Vec<Option<Outcome>> = batch.iter().map(|_| None).collect();
    for groups in by_mailbox(batch).chunks(spool.kept.at_once()) {
        append_groups(spool, batch, groups, &mut outcomes);
    }
    // Every message is in one group.
    outcomes.into_iter().flatten().collect()
}

/// Appends to these mailboxes, and waits once for all of them.
fn append_groups(
    spool: &Spool,
    batch: &[Delivery<'_>],
    groups: &[Group<'_>],
    outcomes: &mut [Option<Outcome>],
) {
    let is_alone = groups.len() == 1;
    spool.journal.set_waiting(true);
    let written: Vec<_> = groups
        .iter()
        .map(|group| write(spool, batch, group, is_alone))
        .collect();
    if let [_, _, ..] = written.as_slice() {
        written
            .iter()
            .flatten()
            .for_each(|written| file::begin_sync(&written.open.file));
    }
    for (group, written) in groups.iter().zip(written) {
        // Outside the lock, so that the file system commits many messages at once.
        let fates = written.and_then(|written| {
            written.make_durable(spool)?;
            bell::ring(spool, written.to);
            spool.kept.keep(Box::new(written.open));
            Ok(written.outcomes)
        });
        match fates {
            Ok(fates) => {
                for (&index, fate) in group.indexes.iter().zip(fates) {
                    outcomes[index] = Some(fate);
                }
            }
            Err(e) => group
                .indexes
                .iter()
                .for_each(|&index| outcomes[index] = Some(Err(e.clone()))),
        }
    }
    spool.journal.set_waiting(false);
}

/// The messages of a batch that go to one mailbox, in their order.
struct Group<'b> {
    to: &'b Name,
    indexes: Vec<usize>,
}

fn by_mailbox<'b>(batch: &'b [Delivery<'_>]) -> Vec<Group<'b>> {
    let mut groups: Vec<Group<'b>> = Vec::new();
    for (index, delivery) in batch.iter().enumerate() {
        match groups.iter_mut().find(|group| group.to == delivery.to) {
            Some(group) => group.indexes.push(index),
            None => groups.push(Group {
                to: delivery.to,
                indexes: vec![index],
            }),
        }
    }
    groups
}

/// Messages that are in a mailbox, and not yet on the disk.
struct Written<'b> {
    to: &'b Name,
    open: OpenMailbox,
    named: bool,
    /// What was submitted to the journal as well.
    submitted: Option<journal::Submitted>,
    outcomes: Vec<Outcome>,
}

/// A mailbox that this process has appended to, kept open for its next message, and where that message
/// goes if nobody else has appended meanwhile.
#[derive(Debug)]
pub(super) struct OpenMailbox {
    pub(super) name: Name,
    path: PathBuf,
    stripe: File,
    file: File,
    left: Left,
}

/// How this process has left a mailbox.
#[derive(Clone, Copy, Debug)]
struct Left {
    tail: Tail,
    header: Header,
    /// How long its file was.
    len: u64,
}

/// What is done under the lock: read the tail, one write. When it `is_alone`, it may go to the journal as well, and does
/// so in the order of the mailbox.
fn write<'b>(
    spool: &Spool,
    batch: &[Delivery<'_>],
    group: &Group<'b>,
    is_alone: bool,
) -> Result<Written<'b>, StoreError> {
    let (name, path, stripe, known) = match spool.kept.take(group.to) {
        Some(open) => {
            let OpenMailbox {
                name,
                path,
                stripe,
                file,
                left,
            } = *open;
            (name, path, stripe, Some((file, left)))
        }
        None => {
            let path = spool.mail().path_of(&Spool::place(group.to));
            (group.to.clone(), path, spool.stripe(group.to)?, None)
        }
    };
    let lock = Held::wait(&stripe).map_err(StoreError::system("lock the mailbox", &path))?;
    let (file, facts, known) = opened(spool, group.to, &path, known)?;
    if !facts.writable {
        return Err(StoreError::ReadOnly(path));
    }
    let found = header_and_tail(spool, batch, group, &file, &path, facts.len, known)?;
    let (header, tail, from, bytes) = match found {
        Some((header, tail)) => (header, tail, tail.offset, Vec::new()),
        None => {
            let header = begin(spool, group.to, &file, &path, facts.len)?;
            let tail = Tail {
                seq: 0,
                offset: header.acked_offset,
            };
            (header, tail, 0, header.first_bytes())
        }
    };
    let messages = group.indexes.iter().map(|&index| &batch[index]);
    let mut appender = Appender {
        spool,
        file: &file,
        path: &path,
        header: &header,
        tail,
        bytes,
    };
    let outcomes = appender.encode_all(messages);
    let Appender {
        mut bytes, tail, ..
    } = appender;
    let mut len = facts.len;
    let mut submitted = None;
    let is_new = |outcome: &Outcome| outcome.as_ref().is_ok_and(|receipt| !receipt.duplicate);
    if outcomes.iter().any(is_new) {
        let records = bytes.len();
        end::fill_block(&mut bytes, from, facts.len);
        write_or_take_back(&file, &bytes, from, &path)?;
        len = len.max(from + bytes.len() as u64);
        // One that was there already may not be on the disk yet either.
        let is_old = |outcome: &Outcome| outcome.as_ref().is_ok_and(|receipt| receipt.duplicate);
        if is_alone && header.named && !outcomes.iter().any(is_old) {
            submitted = spool
                .journal
                .submit(group.to, header.epoch, from, &bytes[..records]);
        }
    }
    drop(lock);
    Ok(Written {
        to: group.to,
        named: header.named,
        submitted,
        open: OpenMailbox {
            name,
            path,
            stripe,
            file,
            left: Left { tail, header, len },
        },
        outcomes,
    })
}

/// The file of a mailbox, and its tail and header as this process has left them, if it has, and nobody has appended
/// since.
fn opened(
    spool: &Spool,
    to: &Name,
    path: &Path,
    known: Option<(File, Left)>,
) -> Result<(File, Facts, Option<Left>), StoreError> {
    let look = |file: &File| file::facts(file).map_err(StoreError::system("look at", path));
    if let Some((file, left)) = known {
        let facts = look(&file)?;
        // One that was replaced by a copy of itself has no name any more.
        if facts.named {
            // One that has grown, or whose end is not ours any more, is looked at anew.
            let is_last = facts.len == left.len
                && end::is_last(&file, left.header.epoch, left.tail)
                    .map_err(StoreError::system("read", path))?;
            return Ok((file, facts, is_last.then_some(left)));
        }
    }
    let file = open(spool, &Spool::place(to), path)?;
    let facts = look(&file)?;
    Ok((file, facts, None))
}

/// The header of a mailbox, and where its next record goes; `None` when nothing is in it.
fn header_and_tail(
    spool: &Spool,
    batch: &[Delivery<'_>],
    group: &Group<'_>,
    file: &File,
    path: &Path,
    len: u64,
    known: Option<Left>,
) -> Result<Option<(Header, Tail)>, StoreError> {
    let header = match known.filter(|left| does_as_well(spool, batch, group, left)) {
        Some(left) => Some(left.header),
        None => repair::header(file, path, len)?,
    };
    let Some(header) = header else {
        return Ok(None);
    };
    let tail = match known {
        Some(left) => left.tail,
        None => tail(spool, group.to, file, path, &header, len)?,
    };
    Ok(Some((header, tail)))
}

/// Whether a header that was read before does as well as the one that is there now, for messages that go behind
/// its tail: only acknowledging changes it, which makes room. Where it is asked what was sent before, it does not.
fn does_as_well(spool: &Spool, batch: &[Delivery<'_>], group: &Group<'_>, left: &Left) -> bool {
    let Left { tail, header, .. } = left;
    let drafts = || group.indexes.iter().map(|&index| &batch[index].draft);
    let len = drafts().map(|draft| record::len_of(draft) as u64).sum();
    let last = Tail {
        seq: tail.seq + group.indexes.len() as u64 - 1,
        ..*tail
    };
    header.named
        && !drafts().any(|draft| draft.once)
        && spool.room_in(group.to, header, last, len).is_ok()
}

fn open(spool: &Spool, place: &str, path: &Path) -> Result<File, StoreError> {
    match spool.mail().file_or_new(place) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Err(StoreError::ReadOnly(path.to_owned()))
        }
        opened => opened.map_err(StoreError::system("open", path)),
    }
}

fn tail(
    spool: &Spool,
    to: &Name,
    file: &File,
    path: &Path,
    header: &Header,
    len: u64,
) -> Result<Tail, StoreError> {
    let end = end::find(file, header, len).map_err(StoreError::system("read", path))?;
    match end.seq {
        Some(seq) => Ok(Tail {
            seq,
            offset: end.offset,
        }),
        None => repair::mend_tail(spool, to, file, header, end.offset),
    }
}

/// The header of a new mailbox. What a first write has left that was cut off is removed.
fn begin(
    spool: &Spool,
    to: &Name,
    file: &File,
    path: &Path,
    len: u64,
) -> Result<Header, StoreError> {
    if len > 0 {
        if repair::quarantine(spool, to, file, 0, len)? {
            log::warn!(
                "mailbox {}: its {len} bytes hold no message, and go to quarantine",
                path.display()
            );
        }
        file::truncate(file, 0).map_err(StoreError::system("truncate", path))?;
    }
    let mut epoch = [0; 4];
    random::fill(&mut epoch).map_err(StoreError::system("draw a random number for", path))?;
    Ok(Header::new(u32::from_le_bytes(epoch)))
}

/// One write, of all or nothing: when it fails in the middle, the file is cut back to `offset`.
fn write_or_take_back(
    file: &File,
    bytes: &[u8],
    offset: u64,
    path: &Path,
) -> Result<(), StoreError> {
    file::write_at(file, bytes, offset).map_err(|e| {
        // If this fails as well, the next append mends the tail. What is cut off must not come back behind what is
        // written there next.
        let _ = file::truncate(file, offset).and_then(|()| file::sync(file));
        StoreError::system("write", path)(e)
    })
}

impl Written<'_> {
    /// Waits for the disk.
    fn make_durable(&self, spool: &Spool) -> Result<(), StoreError> {
        let keeps = |submitted| spool.journal.keeps(submitted);
        if self.submitted.is_some_and(keeps) {
            return Ok(());
        }
        sync(&self.open.file, &self.open.path)?;
        if !self.named {
            name_on_disk(spool, self.to, &self.open.file, &self.open.path)?;
        }
        Ok(())
    }
}

/// Waits until a mailbox is on the disk. An error is final: the kernel may have forgotten what it could
/// not write, and would say that all is well if it were asked again. So the mailbox turns read-only,
/// until `droplinectl check --repair` has looked at what the disk really has.
pub(super) fn sync(file: &File, path: &Path) -> Result<(), StoreError> {
    file::sync(file).map_err(|e| {
        log::error!(
            "the disk failed to keep {}: {e}; the mailbox is read-only from now on; \
             stop the daemon and use droplinectl check --repair",
            path.display()
        );
        if let Err(e) = file::make_read_only(file) {
            log::error!("cannot make {} read-only: {e}", path.display());
        }
        StoreError::ReadOnly(path.to_owned())
    })
}

/// Waits until the name of a mailbox is on the disk, and notes that in its header, so that it is done
/// once.
fn name_on_disk(spool: &Spool, to: &Name, file: &File, path: &Path) -> Result<(), StoreError> {
    let folder = spool.folder(to)?;
    folder
        .sync()
        .map_err(StoreError::system("sync", folder.path()))?;
    let _lock = lock(spool, to)?;
    let len = file::facts(file)
        .map_err(StoreError::system("look at", path))?
        .len;
    match repair::header(file, path, len)? {
        Some(header) if !header.named => {
            // Not waited for: if it is lost, the next append syncs the folder once more.
            let header = Header {
                named: true,
                ..header
            };
            header
                .write_next(file)
                .map_err(StoreError::system("write", path))
        }
        _ => Ok(()),
    }
}

/// Takes the lock that guards the mailbox of `name`.
pub(super) fn lock(spool: &Spool, name: &Name) -> Result<Locked, StoreError> {
    let stripe = spool.stripe(name)?;
    let place = || Spool::place(name).to_string();
    Locked::wait(stripe).map_err(|e| StoreError::system("lock the mailbox", place())(e))
}
