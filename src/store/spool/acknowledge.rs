//! Acknowledgement: removes messages from the queue with one header write of 64 bytes.

use std::time::Duration;

use super::compact::compact;
use super::fetch::Handout;
use super::format::header::Header;
use super::format::walk::{Step, Walk};
use super::lock::lock_within;
use super::mailbox::sync;
use super::retention::Gone;
use super::{ids, repair, retention};
use crate::store::{StoreError, Waiting};
use crate::sys::clock::unix_millis;
use crate::sys::file;

/// How long an acknowledgement waits for the lock of the mailbox, which can be busy with a copy. The reader has the
/// messages already, and would get them again.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an acknowledgement follows a mailbox that is replaced.
const MOST_REPLACED: usize = 3;

impl Waiting for Handout<'_> {
    fn acknowledge(&mut self, seq: u64) -> Result<(), StoreError> {
        acknowledge(self, seq)
    }

    fn refresh(&mut self) -> Result<(), StoreError> {
        Handout::refresh(self)
    }
}

/// Durably acknowledges all messages of the leased mailbox up to and including `seq`. Drops history beyond the limits.
///
/// If the mailbox was replaced (a restore does not wait for the lease), acknowledges them in the new one.
///
/// # Errors
/// [`StoreError::ReadOnly`]; I/O errors. [`StoreError::Busy`] if the mailbox is replaced again and again. The messages
/// may be delivered to a reader again then.
fn acknowledge(lease: &mut Handout<'_>, seq: u64) -> Result<(), StoreError> {
    for _ in 0..MOST_REPLACED {
        let header = header(lease)?;
        let Some(acked) = up_to(lease, &header, seq)? else {
            return Ok(());
        };
        if settle(lease, header, acked)? == Settled::Durably {
            return Ok(());
        }
        lease.refresh()?;
    }
    Err(StoreError::Busy)
}

/// Acknowledges expired messages at the head of the queue and returns their number. Drops history beyond the limits.
///
/// # Errors
/// [`StoreError::ReadOnly`]; I/O errors.
pub(super) fn expire(lease: &Handout<'_>) -> Result<u64, StoreError> {
    let header = header(lease)?;
    let now = unix_millis();
    let mut expired = 0;
    let mut acked = (header.acked_seq, header.acked_offset);
    let mut walk = Walk::new(header.epoch, header.acked_offset, lease.end);
    loop {
        let step = walk.step(lease.file());
        match step.map_err(StoreError::system("read", &lease.path))? {
            Step::Record { seq, end, .. } => {
                let message = walk.record();
                if message.is_none_or(|m| m.expires.is_none_or(|at| at > now)) {
                    break;
                }
                expired += 1;
                acked = (seq, end);
            }
            Step::Bad { .. } => {}
            Step::End => break,
        }
    }
    settle(lease, header, acked)?;
    Ok(expired)
}

/// Reads the header of the leased mailbox for an update. Fails if the mailbox is read-only.
fn header(lease: &Handout<'_>) -> Result<Header, StoreError> {
    let file = lease.file();
    let read = |e| StoreError::system("read", &lease.path)(e);
    if !file::facts(file).map_err(read)?.writable {
        return Err(StoreError::read_only(&lease.path));
    }
    newest(lease)
}

fn newest(lease: &Handout<'_>) -> Result<Header, StoreError> {
    let header = repair::header(lease.file(), &lease.path, lease.end)?;
    header.ok_or_else(|| {
        StoreError::damaged(
            &lease.path,
            0,
            "its messages disappeared while they were being read",
        )
    })
}

/// Whether an acknowledgement has taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Durably,
    /// The mailbox was replaced, and the leased file is no longer that of the name.
    NotInPlace,
}

/// Durably writes the header with `acked` (number and end of the last message), and frees the space of dropped history.
fn settle(lease: &Handout<'_>, before: Header, acked: (u64, u64)) -> Result<Settled, StoreError> {
    let file = lease.file();
    let path = &lease.path;
    let read = |e| StoreError::system("read", path)(e);
    let mut header = Header {
        acked_seq: acked.0,
        acked_offset: acked.1,
        ..before
    };
    let gone = retention::forget(file, &mut header, &lease.spool.limits_now(), unix_millis())
        .map_err(read)?;
    if header == before {
        return Ok(Settled::Durably);
    }
    // Before the header is written: the mailbox still has the messages, which are durable.
    ids::confirm(lease.spool, &lease.name, header.epoch, &gone.ids);
    {
        // Only the lease holder moves the boundaries, but other processes may set flags: reread under the lock.
        let _lock = lock_within(&lease.spool.paths, &lease.name, LOCK_TIMEOUT)?;
        if !file::facts(file).map_err(read)?.named {
            return Ok(Settled::NotInPlace);
        }
        header
            .with_flags_of(&newest(lease)?)
            .write_next(file)
            .map_err(StoreError::system("write", path))?;
    }
    sync(file, path)?;
    make_room(lease, &header, &gone);
    Ok(Settled::Durably)
}

/// Frees the space of dropped history. Errors are only logged, because the acknowledgement is durable already.
fn make_room(lease: &Handout<'_>, header: &Header, gone: &Gone) {
    let file = lease.file();
    let result = match gone.give_back(file) {
        Ok(true) => Ok(()),
        Ok(false) => match file::facts(file) {
            Ok(facts) if retention::is_worth_copying(header, facts.len, &lease.spool.limits) => {
                compact(lease.spool, &lease.name, file, header).map_err(|e| e.to_string())
            }
            Ok(_) => Ok(()),
            Err(e) => Err(e.to_string()),
        },
        Err(e) => Err(e.to_string()),
    };
    if let Err(e) = result {
        log::warn!("cannot free disk space of {}: {e}", lease.path.display());
    }
}

/// Returns the number and end of the last fetched message up to `seq`, or `None` if there is nothing to acknowledge.
fn up_to(lease: &Handout<'_>, header: &Header, seq: u64) -> Result<Option<(u64, u64)>, StoreError> {
    let Some(last) = lease.last.filter(|_| seq > header.acked_seq) else {
        return Ok(None);
    };
    if seq >= last.0 {
        return Ok(Some(last));
    }
    let mut found = None;
    let mut walk = Walk::new(lease.epoch, header.acked_offset, last.1);
    loop {
        let step = walk.step(lease.file());
        match step.map_err(StoreError::system("read", &lease.path))? {
            Step::Record { seq: this, end, .. } if this <= seq => found = Some((this, end)),
            Step::Bad { .. } => {}
            Step::Record { .. } | Step::End => return Ok(found),
        }
    }
}
