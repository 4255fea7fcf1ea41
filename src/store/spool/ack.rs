//! Taking messages out of the queue: one write of 64 bytes.

use super::append::{lock, sync};
use super::fetch::Lease;
use super::layout::Spool;
use super::mailbox::Header;
use super::walk::{Step, Walk};
use super::{repair, retention};
use crate::store::StoreError;
use crate::sys::clock::unix_millis;
use crate::sys::file;

/// Acknowledges all messages up to and including number `seq` of the leased mailbox, durably, and forgets
/// what the limits say of those that are history.
///
/// # Errors
/// Those of the system; then they may be handed out again.
pub(super) fn acknowledge(lease: &Lease<'_>, seq: u64) -> Result<(), StoreError> {
    let file = lease.mailbox.file();
    let path = &lease.path;
    let read = |e| StoreError::system("read", path)(e);
    if !file::facts(file).map_err(read)?.writable {
        return Err(StoreError::ReadOnly(path.clone()));
    }
    // Only the holder of the lease moves the boundaries; the lock is for the header as a whole.
    let mut header = Header::read(file)
        .map_err(read)?
        .ok_or_else(|| repair::headless(path))?;
    let Some((acked_seq, acked_offset)) = up_to(lease, &header, seq)? else {
        return Ok(());
    };
    (header.acked_seq, header.acked_offset) = (acked_seq, acked_offset);
    let gone =
        retention::forget(file, &mut header, lease.spool.limits(), unix_millis()).map_err(read)?;
    {
        let _lock = lock(lease.spool, &lease.name)?;
        let now = Header::read(file)
            .map_err(read)?
            .ok_or_else(|| repair::headless(path))?;
        Header {
            named: now.named,
            generation: now.generation,
            ..header
        }
        .write_next(file)
        .map_err(StoreError::system("write", path))?;
    }
    sync(file, path)?;
    gone.give_back(file, lease.spool, &Spool::place(&lease.name));
    Ok(())
}

/// Number and end of the last message up to number `seq`; `None` when those are acknowledged already.
fn up_to(lease: &Lease<'_>, header: &Header, seq: u64) -> Result<Option<(u64, u64)>, StoreError> {
    let Some(last) = lease.last.filter(|_| seq > header.acked_seq) else {
        return Ok(None);
    };
    if seq >= last.0 {
        return Ok(Some(last));
    }
    let mut found = None;
    let mut walk = Walk::new(lease.epoch, header.acked_offset, last.1);
    loop {
        let step = walk.step(lease.mailbox.file());
        match step.map_err(StoreError::system("read", &lease.path))? {
            Step::Record { seq: this, end, .. } if this <= seq => found = Some((this, end)),
            Step::Bad { .. } => {}
            Step::Record { .. } | Step::End => return Ok(found),
        }
    }
}
