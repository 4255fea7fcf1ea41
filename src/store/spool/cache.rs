//! A cache of mailboxes that stay open, because the next message of a process often goes to one of them.

use std::sync::Mutex;

use super::mailbox::OpenMailbox;
use super::paths::hash;
use crate::name::Name;

/// Maximum number of cached mailboxes.
const CAPACITY: usize = 128;
/// Maximum number of mailboxes that a process appends to at once.
const MOST_AT_ONCE: usize = 32;
/// Descriptors per open mailbox: its log and its lock file.
const FILES: usize = 2;
/// Descriptors reserved for other uses: the connection, the log, directories.
const OTHERS: usize = 32;

/// The number of descriptors that fills the cache to its capacity. More are of no use.
pub(crate) const DESCRIPTORS: usize = OTHERS + FILES * (CAPACITY + MOST_AT_ONCE);

/// The mailboxes that this process has appended to recently. It must be empty at fork(2): a lock taken through an
/// inherited descriptor is shared with the parent.
#[derive(Debug)]
pub(super) struct Cache {
    open: Mutex<Open>,
    capacity: usize,
    at_once: usize,
}

/// The cached mailboxes.
#[derive(Debug, Default)]
struct Open {
    /// Unordered. Each message scans all entries, so entries are small and the mailboxes boxed.
    mailboxes: Vec<Cached>,
    /// How many times a mailbox was added.
    turns: u64,
}

#[derive(Debug)]
struct Cached {
    hash: u32,
    /// The value of `turns` when it was added.
    turn: u64,
    mailbox: Box<OpenMailbox>,
}

impl Cache {
    /// Sizes the cache for this descriptor limit.
    pub(super) fn within(descriptors: usize) -> Self {
        let mailboxes = descriptors.saturating_sub(OTHERS) / FILES;
        let at_once = (mailboxes / 2).clamp(1, MOST_AT_ONCE);
        Self {
            open: Mutex::default(),
            capacity: mailboxes.saturating_sub(at_once).min(CAPACITY),
            at_once,
        }
    }

    /// Returns how many mailboxes this process may append to at once.
    pub(super) fn at_once(&self) -> usize {
        self.at_once
    }

    /// Removes the mailbox of `name` from the cache and returns it.
    pub(super) fn take(&self, name: &Name) -> Option<Box<OpenMailbox>> {
        let mut open = self.open.lock().ok()?;
        let hash = hash(name);
        let is_it = |one: &Cached| one.hash == hash && one.mailbox.name == *name;
        let at = open.mailboxes.iter().position(is_it)?;
        Some(open.mailboxes.swap_remove(at).mailbox)
    }

    /// Adds a mailbox to the cache. Closes the least recently used one if the cache is over capacity.
    pub(super) fn keep(&self, mailbox: Box<OpenMailbox>) {
        let Ok(mut open) = self.open.lock() else {
            return;
        };
        open.turns += 1;
        let one = Cached {
            hash: hash(&mailbox.name),
            turn: open.turns,
            mailbox,
        };
        open.mailboxes.push(one);
        if open.mailboxes.len() > self.capacity {
            let mailboxes = open.mailboxes.iter().enumerate();
            if let Some((oldest, _)) = mailboxes.min_by_key(|(_, one)| one.turn) {
                open.mailboxes.swap_remove(oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_mailboxes_fit_the_descriptors() {
        for descriptors in [64, 100, 192, DESCRIPTORS] {
            let cache = Cache::within(descriptors);
            assert!(cache.at_once >= 1);
            assert!(OTHERS + FILES * (cache.capacity + cache.at_once) <= descriptors);
        }
        let cache = Cache::within(usize::MAX);
        assert_eq!((cache.capacity, cache.at_once), (CAPACITY, MOST_AT_ONCE));
        let few = Cache::within(3);
        assert_eq!((few.capacity, few.at_once), (0, 1));
    }
}
