//! The cache of open mailboxes: the next message of a process may be for one of them again.

use std::sync::Mutex;

use super::mailbox::OpenMailbox;
use super::paths::hash;
use crate::name::Name;

/// How many mailboxes a process keeps open at most.
const CAPACITY: usize = 128;
/// How many it appends to at once at most.
const MOST_AT_ONCE: usize = 32;
/// How many files an open mailbox has: itself, and its lock.
const FILES: usize = 2;
/// So many descriptors a process has for other things: its connection, its log, the directories.
const OTHERS: usize = 32;

/// As many descriptors as are of use.
pub(crate) const DESCRIPTORS: usize = OTHERS + FILES * (CAPACITY + MOST_AT_ONCE);

/// The mailboxes that this process has appended to lately. It is empty when the process forks: a lock that is taken
/// through an inherited descriptor is the parent's as well.
#[derive(Debug)]
pub(super) struct Cache {
    open: Mutex<Open>,
    capacity: usize,
    at_once: usize,
}

/// Those that are open.
#[derive(Debug, Default)]
struct Open {
    /// In no order, and small, as all of them are looked at for each message.
    mailboxes: Vec<Cached>,
    /// How often a mailbox was added.
    turns: u64,
}

#[derive(Debug)]
struct Cached {
    hash: u32,
    /// When it was added last, in turns.
    turn: u64,
    mailbox: Box<OpenMailbox>,
}

impl Cache {
    /// For a process that may have so many descriptors.
    pub(super) fn within(descriptors: usize) -> Self {
        let mailboxes = descriptors.saturating_sub(OTHERS) / FILES;
        let at_once = (mailboxes / 2).clamp(1, MOST_AT_ONCE);
        Self {
            open: Mutex::default(),
            capacity: mailboxes.saturating_sub(at_once).min(CAPACITY),
            at_once,
        }
    }

    /// How many mailboxes may be appended to at once.
    pub(super) fn at_once(&self) -> usize {
        self.at_once
    }

    /// The mailbox of `name`, if it is in the cache.
    pub(super) fn take(&self, name: &Name) -> Option<Box<OpenMailbox>> {
        let mut open = self.open.lock().ok()?;
        let hash = hash(name);
        let is_it = |one: &Cached| one.hash == hash && one.mailbox.name == *name;
        let at = open.mailboxes.iter().position(is_it)?;
        Some(open.mailboxes.swap_remove(at).mailbox)
    }

    /// Keeps a mailbox for the next message to it, and closes the one that was not used for longest.
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
