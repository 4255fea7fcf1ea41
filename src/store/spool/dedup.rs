//! Duplicate detection: finds a stored message with the same id from the same sender, with the same trust.
//!
//! It searches the mailbox log backwards. A separate index could differ from the log after a crash and report a lost
//! message as stored.

use std::fs::File;
use std::io;

use super::format::backwards::Backwards;
use super::format::end::Tail;
use super::format::header::Header;
use super::retention::IDS;
use crate::message::Draft;

/// Returns the number of the stored message with the id, sender and trust of `draft`, if it is among the last 4,096.
///
/// # Errors
/// Errors from `pread(2)`.
pub(super) fn find(
    file: &File,
    header: &Header,
    tail: Tail,
    draft: &Draft<'_>,
) -> io::Result<Option<u64>> {
    let mut back = Backwards::new(file, header.epoch, header.ids_offset, tail.offset);
    for _ in 0..IDS {
        let Some(head) = back.step()? else { break };
        let is_same = head.id == draft.id
            && head.trust == draft.trust
            && back.sender(&head) == draft.from.as_bytes();
        if !is_same {
            continue;
        }
        // Before the kept offset only heads are left. After it the record must be whole: a crash may have left both
        // ends of a message that was never accepted, without its middle.
        if back.begins_at() < header.kept_offset || back.record(&head)?.is_some() {
            return Ok(Some(head.seq));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use crate::message::{Fields, MessageId, Trust};
    use crate::name::Name;
    use crate::store::Limits;
    use crate::store::spool::handle::Spool;
    use crate::store::spool::paths::place;
    use crate::store::{Delivery, Mail};

    use super::*;

    /// A power cut may leave both ends of a message that was never accepted, without its middle.
    #[test]
    fn a_message_with_a_lost_middle_is_not_a_duplicate() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("spool");
        let spool = Spool::open(&path, Limits::default()).expect("a spool");
        let name = |text: &str| Name::new(text.as_bytes()).expect("a name");
        let (bob, al) = (name("bob"), name("al"));
        let body = vec![b'x'; 3_000];
        let store = || {
            let draft = Draft {
                id: MessageId([7; 16]),
                from: &al,
                trust: Trust::Open,
                at: 1,
                expires: None,
                once: true,
                body: &body,
                fields: Fields::default(),
            };
            let mut outcomes = spool.deliver(&[Delivery { to: &bob, draft }]);
            outcomes.pop().expect("an outcome").expect("stored")
        };
        assert!(!store().duplicate);
        assert!(store().duplicate, "it is whole");
        let mailbox = path.join("mail").join(&*place(&bob));
        let mut bytes = std::fs::read(&mailbox).expect("there");
        let middle = bytes.len() / 2;
        bytes[middle - 600..middle].fill(0);
        std::fs::write(&mailbox, bytes).expect("written");
        let receipt = store();
        assert_eq!((receipt.seq, receipt.duplicate), (2, false));
        assert!(store().duplicate, "the second is whole");
        let mut lease = spool.fetch(&bob).expect("fetched").expect("there");
        assert_eq!(lease.next().expect("readable").expect("one").seq, 2);
    }
}
