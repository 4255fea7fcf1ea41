//! Appends messages to mailboxes.
//!
//! 1. [`append()`] groups the messages of a batch by mailbox.
//! 2. [`write()`] reads the end of a mailbox and writes all its new records at once, under the mailbox lock. A long search
//!    for ids that were sent before comes first, without the lock.
//! 3. [`Written::make_durable`] waits without a lock until the records are on the disk: in the journal, which is shared
//!    with other waiting processes, or in the mailbox.
//! 4. [`finish()`] wakes the process that watches the mailbox, and caches the open mailbox.

use super::budget::Budget;
use super::dedup::Search;
use super::encode::Encoder;
use super::format::header::Header;
use super::handle::Spool;
use super::journal::client::JournalSubmission;
use super::lock::lock;
use super::mailbox::{AppendPosition, MailboxLog, OpenMailbox, sync};
use super::user_files::has_owner_record;
use super::{bell, ids, repair, room};
use crate::name::Name;
use crate::store::{Delivery, Receipt, StoreError};
use crate::sys::file;

/// How often an append searches for ids without the lock, before it gives way to other writers. Each search covers what has
/// come during the one before.
const MOST_SEARCHES: usize = 8;

/// The outcome of one message.
pub(super) type DeliveryResult = Result<Receipt, StoreError>;

/// Appends the messages to their mailboxes, creating missing ones. Messages with a receipt are durable on return. All
/// messages to one mailbox take one write, and the batch shares the wait for the disk.
pub(super) fn append(spool: &Spool, batch: &[Delivery<'_>]) -> Vec<DeliveryResult> {
    let room = room::on_disk(&spool.paths.mail, &spool.limits, spool.budgets.rank());
    if let Err(e) = room {
        return batch.iter().map(|_| Err(e.clone())).collect();
    }
    let mut outcomes: Vec<Option<DeliveryResult>> = batch.iter().map(|_| None).collect();
    for groups in by_mailbox(batch).chunks(spool.cache.at_once()) {
        spool.journal.set_waiting(true);
        let written: Vec<_> = groups
            .iter()
            .map(|group| write(spool, group, groups.len() == 1))
            .collect();
        if written.len() > 1 {
            written.iter().flatten().for_each(Written::begin_sync);
        }
        for (group, written) in groups.iter().zip(written) {
            let finished = written.and_then(|written| finish(spool, written));
            for (at, &(index, _)) in group.messages.iter().enumerate() {
                outcomes[index] = Some(match &finished {
                    Ok(all) => all[at].clone(),
                    Err(e) => Err(e.clone()),
                });
            }
        }
        spool.journal.set_waiting(false);
    }
    // No outcome is missing: each message is in exactly one group.
    outcomes.into_iter().flatten().collect()
}

/// The messages of a batch to one mailbox, in order, each with its index in the batch.
struct Group<'b> {
    to: &'b Name,
    messages: Vec<(usize, &'b Delivery<'b>)>,
}

fn by_mailbox<'b>(batch: &'b [Delivery<'b>]) -> Vec<Group<'b>> {
    let mut groups: Vec<Group<'b>> = Vec::new();
    for message in batch.iter().enumerate() {
        let to = message.1.to;
        match groups.iter_mut().find(|group| group.to == to) {
            Some(group) => group.messages.push(message),
            None => groups.push(Group {
                to,
                messages: vec![message],
            }),
        }
    }
    groups
}

/// A mailbox with messages that are not yet durable.
struct Written {
    mailbox: Box<OpenMailbox>,
    appended: Appended,
}

/// Messages that are appended and not yet durable.
struct Appended {
    /// Whether the directory entry of the mailbox is known to be durable.
    named: bool,
    /// The records' submission to the journal, if any.
    submission: Option<JournalSubmission>,
    /// Whether the ids of verified senders must be remembered.
    is_due: bool,
    outcomes: Vec<DeliveryResult>,
}

/// Writes the messages of a group to their mailbox. If the group is the only one of its batch, the records may also be
/// submitted to the journal.
///
/// # Errors
/// [`StoreError::Busy`] if other processes append faster than this one can search for ids; others.
fn write(spool: &Spool, group: &Group<'_>, is_only: bool) -> Result<Written, StoreError> {
    let mut mailbox = match spool.cache.take(group.to) {
        Some(mailbox) => mailbox,
        None => {
            may_make(spool, group.to)?;
            Box::new(OpenMailbox::open(&spool.paths, group.to)?)
        }
    };
    let mut search = Search::of(group.messages.iter().map(|(_, message)| &message.draft));
    for _ in 0..MOST_SEARCHES {
        match attempt(spool, group, &mut mailbox, &mut search, is_only)? {
            Attempt::Appended(appended) => return Ok(Written { mailbox, appended }),
            Attempt::SearchFirst(position) => {
                search_up_to(spool, &mailbox.name, &mailbox.log, &mut search, &position)?;
            }
        }
    }
    Err(StoreError::Busy)
}

/// How an attempt to append ended.
enum Attempt {
    Appended(Appended),
    /// There is too much to search under the lock, up to this position.
    SearchFirst(AppendPosition),
}

/// Appends the messages of a group under the lock of their mailbox, unless a long search must come first.
fn attempt<'g>(
    spool: &Spool,
    group: &'g Group<'_>,
    mailbox: &mut OpenMailbox,
    search: &mut Search<'g>,
    is_only: bool,
) -> Result<Attempt, StoreError> {
    let (held, log) = mailbox.lock(&spool.paths)?;
    let position = log.position(&spool.paths, group.to, |known| {
        suffices(spool, group, known)
    })?;
    if !search.is_short(&position.header, position.tail) {
        log.left_at(&position);
        return Ok(Attempt::SearchFirst(position));
    }
    search_up_to(spool, group.to, log, search, &position)?;
    let mut encoder = Encoder::new(spool, search, &position);
    let outcomes: Vec<_> = group
        .messages
        .iter()
        .map(|(_, message)| encoder.push(message))
        .collect();
    let mut submission = None;
    let mut is_due = false;
    if let Some((mut bytes, tail)) = encoder.finish() {
        let records = bytes.len();
        spool
            .budgets
            .add(Budget::Bytes, records as u64, &spool.limits)?;
        if position.offset() == 0 {
            // A new mailbox. Several processes may have found room for it: the limit is not exact.
            let _ = spool.budgets.add(Budget::Mailboxes, 1, &spool.limits);
        }
        log.write(&position, &mut bytes, tail)?;
        is_due = tail.seq / ids::EVERY > position.tail.seq / ids::EVERY;
        // Submit under the lock, in the order of the mailbox. A duplicate means that an earlier record may not be
        // durable yet, so the mailbox itself must be synced.
        let is_duplicate = |outcome: &DeliveryResult| outcome.as_ref().is_ok_and(|r| r.duplicate);
        if is_only && position.header.named && !outcomes.iter().any(is_duplicate) {
            let (epoch, offset) = (position.header.epoch, position.offset());
            submission = spool
                .journal
                .submit(group.to, epoch, offset, &bytes[..records]);
        }
    } else {
        log.left_at(&position);
    }
    drop(held);
    Ok(Attempt::Appended(Appended {
        named: position.header.named,
        submission,
        is_due,
        outcomes,
    }))
}

/// Searches a mailbox for the messages of a group, up to `position`.
fn search_up_to(
    spool: &Spool,
    name: &Name,
    log: &MailboxLog,
    search: &mut Search<'_>,
    position: &AppendPosition,
) -> Result<(), StoreError> {
    let (header, tail) = (&position.header, position.tail);
    let searched = search.run(spool, name, &log.file, header, tail);
    searched.map_err(StoreError::system("read", &log.path))
}

/// Checks that the budget of open clients has room for a mailbox of `name`, or that it exists.
fn may_make(spool: &Spool, name: &Name) -> Result<(), StoreError> {
    let is_used_up = spool.budgets.is_used_up(Budget::Mailboxes, &spool.limits);
    // The mailbox of a name with an owner is not theirs.
    if is_used_up && spool.paths.mailbox(name)?.is_none() && !has_owner_record(spool, name)? {
        return Err(spool.budgets.refusal(Budget::Mailboxes));
    }
    Ok(())
}

/// Returns whether the cached header suffices for these messages. Once `named` is set, only acknowledgements, which
/// free quota, and flags that an append does not need change a header. The header is therefore read again only to
/// search for ids, or if the mailbox seems to be full.
fn suffices(spool: &Spool, group: &Group<'_>, known: &AppendPosition) -> bool {
    let drafts = || group.messages.iter().map(|(_, message)| &message.draft);
    known.header.named
        && !drafts().any(|draft| draft.once)
        && Encoder::has_room(spool, group.to, known, drafts())
}

impl Written {
    /// Starts writeback without waiting, so that several mailboxes are written in parallel.
    fn begin_sync(&self) {
        file::begin_sync(&self.mailbox.log.file);
    }

    /// Waits until the messages are durable.
    fn make_durable(&self, spool: &Spool) -> Result<(), StoreError> {
        if self
            .appended
            .submission
            .is_some_and(|given| spool.journal.keeps(given))
        {
            return Ok(());
        }
        sync(&self.mailbox.log.file, &self.mailbox.log.path)?;
        if !self.appended.named {
            name_on_disk(spool, &self.mailbox)?;
        }
        Ok(())
    }
}

/// Waits until the messages are durable, wakes the process that watches the mailbox, and caches the open mailbox.
fn finish(spool: &Spool, written: Written) -> Result<Vec<DeliveryResult>, StoreError> {
    written.make_durable(spool)?;
    bell::ring(spool, &written.mailbox.name);
    let Written { mailbox, appended } = written;
    if appended.is_due
        && let Some(end) = mailbox.log.known()
    {
        ids::index(
            spool,
            &mailbox.name,
            &mailbox.log.file,
            &end.header,
            end.tail,
        );
    }
    spool.cache.keep(mailbox);
    Ok(appended.outcomes)
}

/// Makes the directory entry of a mailbox durable, and records this in its header so that it is done once.
fn name_on_disk(spool: &Spool, mailbox: &OpenMailbox) -> Result<(), StoreError> {
    spool.sync_name(&mailbox.name)?;
    let (file, path) = (&mailbox.log.file, &mailbox.log.path);
    let _lock = match lock(&spool.paths, &mailbox.name) {
        // It is durable. The next append syncs the folder once more, and records it.
        Err(StoreError::Busy) => return Ok(()),
        lock => lock?,
    };
    let len = file::facts(file)
        .map_err(StoreError::system("look at", path))?
        .len;
    match repair::header(file, path, len)? {
        Some(header) if !header.named => {
            // Not synced: if this write is lost, the next append syncs the folder once more.
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
