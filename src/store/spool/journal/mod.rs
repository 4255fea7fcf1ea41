//! The journal: where many processes' messages are durable together, before their mailboxes are.
//!
//! A wait for the disk costs about the same however much it is for. While several processes wait for it at once, each
//! for its own mailbox, one process writes the messages of all of them to the journal as well, in one write with one wait
//! ([`writer`]). They are in the mailboxes all the same, written and not yet synced: a reader syncs a mailbox first. What
//! was in the journal is synced in the mailboxes later, and written to them once more after a power cut, before the spool
//! is used ([`settle`], [`recovery`]).
//!
//! Where there is no journal, or it is full, or anything is wrong with it, each process syncs its own mailbox.

pub(super) mod client;
mod entry;
pub(super) mod recovery;
mod segments;
mod settle;
pub(super) mod writer;

#[cfg(test)]
#[path = "../../../../tests/spool/journal.rs"]
pub(super) mod tests;
