//! The way of messages into their mailboxes: they are durable before this returns.
//!
//! 1. The messages of a batch are grouped by mailbox ([`append()`]).
//! 2. Under the lock of each mailbox its end is read, and all its new records are written at once ([`write()`]).
//! 3. Outside of the locks this process waits for the disk: for the journal, which it shares with others that wait, or
//!    for the mailbox itself ([`Written::make_durable`]).
//! 4. The process that watches the mailbox is woken, and the mailbox stays open for the next message ([`finish()`]).

use super::encode::Encoder;
use super::format::header::Header;
use super::handle::Spool;
use super::journal::client::JournalSubmission;
use super::lock::lock;
use super::mailbox::{AppendPosition, OpenMailbox, sync};
use super::{bell, repair, room};
use crate::name::Name;
use crate::store::{Delivery, Receipt, StoreError};
use crate::sys::file;

/// What became of one message.
pub(super) type DeliveryResult = Result<Receipt, StoreError>;

/// Appends the messages to their mailboxes, which are made where there are none. Those to one mailbox are one write, and
/// all of them share the wait for the disk.
pub(super) fn append(spool: &Spool, batch: &[Delivery<'_>]) -> Vec<DeliveryResult> {
    if let Err(e) = room::on_disk(&spool.paths.mail, &spool.limits) {
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
    // Every message is in one group.
    outcomes.into_iter().flatten().collect()
}

/// The messages of a batch that go to one mailbox, in their order, each with its place in the batch.
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

/// Messages that are in a mailbox, and not yet on the disk.
struct Written {
    mailbox: Box<OpenMailbox>,
    /// Whether the name of the mailbox is known to be on the disk.
    named: bool,
    /// What the journal was given.
    submission: Option<JournalSubmission>,
    outcomes: Vec<DeliveryResult>,
}

/// Writes the messages of a group to their mailbox. The only group of a batch may go to the journal as well.
fn write(spool: &Spool, group: &Group<'_>, is_only: bool) -> Result<Written, StoreError> {
    let mut mailbox = match spool.cache.take(group.to) {
        Some(mailbox) => mailbox,
        None => Box::new(OpenMailbox::open(&spool.paths, group.to)?),
    };
    let (held, log) = mailbox.lock(&spool.paths)?;
    let position = log.position(&spool.paths, group.to, |known| {
        suffices(spool, group, known)
    })?;
    let mut encoder = Encoder::new(spool, &log.file, &log.path, &position);
    let outcomes: Vec<_> = group
        .messages
        .iter()
        .map(|(_, message)| encoder.push(message))
        .collect();
    let mut submission = None;
    if let Some((mut bytes, tail)) = encoder.finish() {
        let records = bytes.len();
        log.write(&position, &mut bytes, tail)?;
        // In the order of the mailbox. A message that was there already may not be on the disk yet, so that the mailbox
        // itself has to be synced.
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
    Ok(Written {
        named: position.header.named,
        mailbox,
        submission,
        outcomes,
    })
}

/// Whether a header that this process has read before suffices for these messages: only an acknowledgement changes it,
/// which makes room. Where earlier ids are looked for, or there seems to be no room, it is read again.
fn suffices(spool: &Spool, group: &Group<'_>, known: &AppendPosition) -> bool {
    let drafts = || group.messages.iter().map(|(_, message)| &message.draft);
    known.header.named
        && !drafts().any(|draft| draft.once)
        && Encoder::has_room(spool, group.to, known, drafts())
}

impl Written {
    /// Lets the kernel begin to write, where several mailboxes are waited for.
    fn begin_sync(&self) {
        file::begin_sync(&self.mailbox.log.file);
    }

    /// Waits for the disk.
    fn make_durable(&self, spool: &Spool) -> Result<(), StoreError> {
        if self
            .submission
            .is_some_and(|given| spool.journal.keeps(given))
        {
            return Ok(());
        }
        sync(&self.mailbox.log.file, &self.mailbox.log.path)?;
        if !self.named {
            name_on_disk(spool, &self.mailbox)?;
        }
        Ok(())
    }
}

/// Waits for the disk, and tells the process that watches the mailbox.
fn finish(spool: &Spool, written: Written) -> Result<Vec<DeliveryResult>, StoreError> {
    written.make_durable(spool)?;
    bell::ring(spool, &written.mailbox.name);
    spool.cache.keep(written.mailbox);
    Ok(written.outcomes)
}

/// Waits until the name of a mailbox is on the disk, and notes that in its header, so that it is done once.
fn name_on_disk(spool: &Spool, mailbox: &OpenMailbox) -> Result<(), StoreError> {
    spool.sync_name(&mailbox.name)?;
    let (file, path) = (&mailbox.log.file, &mailbox.log.path);
    let _lock = lock(&spool.paths, &mailbox.name)?;
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
