//! Flags that the processes of a daemon share in memory to avoid disk access: whether claims and watchers may exist,
//! and which folders are known to be durable.
//!
//! A process without shared memory reads the disk each time.

use std::sync::Mutex;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

use super::paths;
use crate::name::Name;

/// Words that hold one bit per folder.
const FOLDER_WORDS: usize = 4;
/// Number of shared words.
const WORDS: usize = 2 + FOLDER_WORDS;

/// The flags of a spool.
#[derive(Debug, Default)]
pub(super) struct Flags {
    shared: Option<&'static [AtomicU64; WORDS]>,
    /// The folders known to be durable, in a process without shared memory.
    own_folders: [AtomicU64; FOLDER_WORDS],
    /// The number of claims made, and a name that was unclaimed then.
    unclaimed: Mutex<Option<(u64, Name)>>,
}

impl Flags {
    /// Shares these words, which must be 0, with all processes forked from now on.
    pub(super) fn share(&mut self, words: &'static [AtomicU64; WORDS]) {
        self.shared = Some(words);
    }

    /// The number of claims made since the daemon started.
    fn claims(&self) -> Option<&'static AtomicU64> {
        self.shared.map(|words| &words[0])
    }

    /// The number of processes that watch a mailbox or were killed while they did.
    fn watchers(&self) -> Option<&'static AtomicU64> {
        self.shared.map(|words| &words[1])
    }

    fn folders(&self) -> &[AtomicU64] {
        self.shared
            .map_or(&self.own_folders[..], |words| &words[2..])
    }

    /// Calls `sync`, which makes all existing folders durable, unless it has succeeded since the folder of `name` was
    /// created. Folders are never removed.
    ///
    /// # Errors
    /// Errors from `sync`.
    pub(super) fn sync_folder_once<E>(
        &self,
        name: &Name,
        sync: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let number = paths::folder_number(name);
        let word = self.folders().get(number as usize / 64);
        let bit = 1 << (number % 64);
        if word.is_some_and(|word| word.load(Relaxed) & bit != 0) {
            return Ok(());
        }
        sync()?;
        if let Some(word) = word {
            word.fetch_or(bit, Relaxed);
        }
        Ok(())
    }

    /// Records that a name was claimed. The claim must be visible on the disk before this call.
    pub(super) fn note_claim(&self) {
        if let Some(claims) = self.claims() {
            claims.fetch_add(1, SeqCst);
        }
    }

    /// Returns whether `name` is claimed. Calls `look` to read the disk, unless `name` was the last name found
    /// unclaimed and there was no claim since.
    ///
    /// # Errors
    /// Errors from `look`.
    pub(super) fn is_claimed<E>(
        &self,
        name: &Name,
        look: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        // Read the counter before the disk, so that a claim in between is not missed.
        let now = self.claims().map(|claims| claims.load(SeqCst));
        let (Some(now), Ok(mut unclaimed)) = (now, self.unclaimed.lock()) else {
            return look();
        };
        let is_known = |(then, other): &(u64, Name)| *then == now && other == name;
        if unclaimed.as_ref().is_some_and(is_known) {
            return Ok(false);
        }
        let claimed = look()?;
        *unclaimed = (!claimed).then(|| (now, name.clone()));
        Ok(claimed)
    }

    /// Records that this process begins or stops to watch a mailbox.
    pub(super) fn note_watcher(&self, begins: bool) {
        if let Some(watchers) = self.watchers() {
            if begins {
                watchers.fetch_add(1, SeqCst);
            } else {
                watchers.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Returns whether a process may be watching a mailbox. A watcher that begins after this call reads the mailbox
    /// after this process has written to it, and needs no wakeup.
    pub(super) fn may_be_watched(&self) -> bool {
        fence(SeqCst);
        self.watchers()
            .is_none_or(|watchers| watchers.load(SeqCst) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Name {
        Name::new(text.as_bytes()).expect("a name")
    }

    fn asked(flags: &Flags, name: &str, claimed: bool) -> bool {
        let mut asked = false;
        let found = flags.is_claimed(&n(name), || {
            asked = true;
            Ok::<_, ()>(claimed)
        });
        assert_eq!(found, Ok(claimed));
        asked
    }

    #[test]
    fn an_unclaimed_name_is_looked_up_again_after_a_claim() {
        let mut flags = Flags::default();
        assert!(
            asked(&flags, "al", false) && asked(&flags, "al", false),
            "without shared memory"
        );
        flags.share(Box::leak(Box::default()));
        assert!(asked(&flags, "al", false));
        assert!(!asked(&flags, "al", false));
        assert!(asked(&flags, "bob", false), "another name");
        assert!(asked(&flags, "al", false), "only one name is cached");
        flags.note_claim();
        assert!(asked(&flags, "al", true));
        assert!(asked(&flags, "al", true), "it may be released");
    }

    #[test]
    fn watchers_are_counted() {
        let mut flags = Flags::default();
        assert!(flags.may_be_watched(), "without shared memory");
        flags.share(Box::leak(Box::default()));
        assert!(!flags.may_be_watched());
        flags.note_watcher(true);
        flags.note_watcher(true);
        flags.note_watcher(false);
        assert!(flags.may_be_watched());
        flags.note_watcher(false);
        assert!(!flags.may_be_watched());
    }

    #[test]
    fn a_folder_is_synced_once_and_again_after_an_error() {
        let mut flags = Flags::default();
        for round in 0..2 {
            let mut syncs = 0;
            let mut sync = |name: &str, fails: bool| {
                let result = flags.sync_folder_once(&n(name), || {
                    syncs += 1;
                    if fails { Err(()) } else { Ok(()) }
                });
                assert_eq!(result.is_err(), fails);
            };
            sync("al", true);
            sync("al", false);
            sync("al", false);
            sync("bob", false);
            assert_eq!(syncs, 3, "round {round}");
            flags.share(Box::leak(Box::default()));
        }
    }
}
