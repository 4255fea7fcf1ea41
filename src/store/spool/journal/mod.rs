//! The journal: makes the messages of many processes durable with one write and one sync.
//!
//! A sync costs about the same for one message as for many. While several processes wait for the disk, each for its own
//! mailbox, one process writes the messages of all of them to the journal ([`writer`]). The messages are also in their
//! mailboxes, but not synced there: a reader syncs a mailbox first. The mailboxes are synced later ([`settle`]). After
//! a power cut, missing messages are written to them again before the spool is used ([`recovery`]).
//!
//! When the journal is absent, full or failed, each process syncs its own mailbox.

pub(super) mod client;
mod entry;
pub(super) mod recovery;
mod segments;
mod settle;
pub(super) mod writer;

#[cfg(test)]
#[path = "../../../../tests/spool/journal.rs"]
pub(super) mod tests;
