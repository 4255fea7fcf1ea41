//! Duplicate detection: finds stored messages with the same ids from the same senders, with the same trust.
//!
//! It searches the mailbox log backwards, once for all messages of a batch, and outside of the mailbox lock: under the lock
//! only what has come since. The last 4,096 messages of all senders are searched, and the last 4,096 of verified ones
//! (ids.rs). An index that is more than a hint could differ from the log after a crash and report a lost message as stored.

use std::fs::File;
use std::io;

use super::format::backwards::Backwards;
use super::format::end::Tail;
use super::format::header::{Header, RECORDS};
use super::format::record::{self, HEAD};
use super::handle::Spool;
use super::ids::{self, IDS, Remembered};
use crate::message::{Draft, Trust};
use crate::name::{MAX_NAME, Name};
use crate::sys::file;

/// Bytes of the log that are searched under the mailbox lock.
const UNDER_LOCK: u64 = 64 * 1024;

/// A search of one mailbox for the messages of a batch that may have been sent before.
pub(super) struct Search<'d> {
    /// Sorted by id.
    wanted: Vec<Wanted<'d>>,
    searched: Option<Searched>,
}

struct Wanted<'d> {
    draft: &'d Draft<'d>,
    /// The number of the stored message.
    found: Option<u64>,
}

/// What a search has covered: a mailbox file up to an offset.
#[derive(Clone, Copy)]
struct Searched {
    epoch: u32,
    /// Where the whole records began. Those before may have lost their bodies during the search.
    kept: u64,
    end: u64,
}

impl<'d> Search<'d> {
    /// Begins a search for those of these messages that may be repeated.
    pub(super) fn of(drafts: impl Iterator<Item = &'d Draft<'d>>) -> Self {
        let wanted = drafts.filter(|draft| draft.once);
        let mut wanted: Vec<_> = wanted.map(|draft| Wanted { draft, found: None }).collect();
        wanted.sort_by_key(|wanted| wanted.draft.id.0);
        Self {
            wanted,
            searched: None,
        }
    }

    /// Returns whether the rest of the search, up to `tail`, may run under the mailbox lock.
    pub(super) fn is_short(&self, header: &Header, tail: Tail) -> bool {
        if self.wanted.is_empty() {
            return true;
        }
        match self.covered(header) {
            Some(end) => tail.offset.saturating_sub(end) <= UNDER_LOCK,
            // Verified senders are also searched among the messages that were dropped.
            None if header.ids_offset > RECORDS && self.has_verified() => false,
            None => tail.offset.saturating_sub(header.ids_offset) <= UNDER_LOCK,
        }
    }

    fn has_verified(&self) -> bool {
        let is_verified = |wanted: &Wanted<'_>| wanted.draft.trust != Trust::Open;
        self.wanted.iter().any(is_verified)
    }

    /// Returns the offset up to which this mailbox file was searched.
    fn covered(&self, header: &Header) -> Option<u64> {
        let is_valid = |of: &Searched| of.epoch == header.epoch && of.kept == header.kept_offset;
        self.searched.filter(is_valid).map(|searched| searched.end)
    }

    /// Searches the mailbox of `name` in `file` up to `tail`, which was read under its lock.
    ///
    /// # Errors
    /// Errors from `openat(2)` and `pread(2)`.
    pub(super) fn run(
        &mut self,
        spool: &Spool,
        name: &Name,
        file: &File,
        header: &Header,
        tail: Tail,
    ) -> io::Result<()> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        match self.covered(header) {
            Some(end) => {
                let stop = end.max(header.ids_offset);
                self.walk(file, header, stop, tail, usize::MAX)?;
            }
            None => {
                // The first search, or the mailbox was replaced or has dropped messages.
                self.wanted
                    .iter_mut()
                    .for_each(|wanted| wanted.found = None);
                let whole = self.walk(file, header, header.ids_offset, tail, IDS)?;
                if (!whole || header.ids_offset > RECORDS) && self.has_verified() {
                    self.look_up(spool, name, file, header, tail)?;
                }
            }
        }
        self.searched = Some(Searched {
            epoch: header.epoch,
            kept: header.kept_offset,
            end: tail.offset,
        });
        Ok(())
    }

    /// Searches up to `most` records from `tail` back to the offset `stop`. Returns whether these were all.
    fn walk(
        &mut self,
        file: &File,
        header: &Header,
        stop: u64,
        tail: Tail,
        most: usize,
    ) -> io::Result<bool> {
        let mut back = Backwards::new(file, header.epoch, stop, tail.offset);
        for _ in 0..most {
            let Some(head) = back.step()? else {
                return Ok(true);
            };
            let from = self.wanted.partition_point(|it| it.draft.id.0 < head.id.0);
            for wanted in &mut self.wanted[from..] {
                if wanted.draft.id != head.id {
                    break;
                }
                let is_same = wanted.found.is_none()
                    && head.trust == wanted.draft.trust
                    && back.sender(&head) == wanted.draft.from.as_bytes();
                // Before the kept offset only heads are left. After it the record must be whole: a crash may have left
                // both ends of a message that was never accepted, without its middle.
                if is_same
                    && (back.begins_at() < header.kept_offset || back.record(&head)?.is_some())
                {
                    wanted.found = Some(head.seq);
                }
            }
        }
        Ok(false)
    }

    /// Looks up the messages of verified senders among the remembered ids.
    fn look_up(
        &mut self,
        spool: &Spool,
        name: &Name,
        file: &File,
        header: &Header,
        tail: Tail,
    ) -> io::Result<()> {
        let mut candidates = Vec::new();
        ids::each(spool, name, header.epoch, |entry| {
            let wanted = &self.wanted;
            if wanted
                .binary_search_by_key(&entry.id.0, |it| it.draft.id.0)
                .is_ok()
            {
                candidates.push(entry);
            }
        })?;
        for entry in candidates {
            let from = self.wanted.partition_point(|it| it.draft.id.0 < entry.id.0);
            for wanted in &mut self.wanted[from..] {
                if wanted.draft.id != entry.id {
                    break;
                }
                let is_same = wanted.found.is_none()
                    && wanted.draft.trust != Trust::Open
                    && *wanted.draft.from == entry.from;
                if is_same && (entry.confirmed || is_there(file, header, tail, &entry)?) {
                    wanted.found = Some(entry.seq);
                }
            }
        }
        Ok(())
    }

    /// Returns the number of the stored message with the id, sender and trust of `draft`.
    pub(super) fn found(&self, draft: &Draft<'_>) -> Option<u64> {
        let from = self.wanted.partition_point(|it| it.draft.id.0 < draft.id.0);
        let same_id = self.wanted[from..].iter();
        same_id
            .take_while(|it| it.draft.id == draft.id)
            .find(|it| it.draft.is_same_message(draft))
            .and_then(|it| it.found)
    }
}

/// Returns whether the mailbox in `file`, which ends at `tail`, has the remembered message at its place.
fn is_there(file: &File, header: &Header, tail: Tail, entry: &Remembered) -> io::Result<bool> {
    let offset = entry.offset;
    if offset < header.ids_offset {
        return Ok(false);
    }
    let mut bytes = vec![0; HEAD + MAX_NAME];
    let n = file::read_at(file, &mut bytes, offset)?;
    let Some(head) = record::decode_head(&bytes[..n], header.epoch, offset) else {
        return Ok(false);
    };
    let sender = bytes.get(HEAD..HEAD + head.sender_len).unwrap_or_default();
    let is_it = head.seq == entry.seq
        && head.id == entry.id
        && head.trust != Trust::Open
        && sender == entry.from.as_bytes()
        && offset + head.record_len() as u64 <= tail.offset;
    if !is_it || offset < header.kept_offset {
        return Ok(is_it);
    }
    bytes.resize(head.record_len(), 0);
    let n = file::read_at(file, &mut bytes, offset)?;
    Ok(record::is_whole(&bytes[..n], &head, header.epoch, offset))
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
