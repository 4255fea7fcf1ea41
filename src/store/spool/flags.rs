//! What the processes of one daemon tell each other in shared memory, so that they need not ask the disk: whether claims
//! and watchers may exist, and which folders are known to be on the disk.
//!
//! A process that shares no memory asks the disk each time.

use std::sync::Mutex;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

use super::paths;
use crate::name::Name;

/// How many words the names of folders take, a bit each.
const FOLDER_WORDS: usize = 4;
/// How many words are shared.
const WORDS: usize = 2 + FOLDER_WORDS;

/// The flags of a spool.
#[derive(Debug, Default)]
pub(super) struct Flags {
    shared: Option<&'static [AtomicU64; WORDS]>,
    /// The folders that are known to be on the disk, in a process that shares no memory.
    own_folders: [AtomicU64; FOLDER_WORDS],
    /// A name that was unclaimed when this many claims had been made.
    unclaimed: Mutex<Option<(u64, Name)>>,
}

impl Flags {
    /// Shares these words, which are 0, with all processes that are forked from now on.
    pub(super) fn share(&mut self, words: &'static [AtomicU64; WORDS]) {
        self.shared = Some(words);
    }

    /// How many claims have been made since the daemon was started.
    fn claims(&self) -> Option<&'static AtomicU64> {
        self.shared.map(|words| &words[0])
    }

    /// How many processes watch a mailbox, and how many were killed while they did.
    fn watchers(&self) -> Option<&'static AtomicU64> {
        self.shared.map(|words| &words[1])
    }

    fn folders(&self) -> &[AtomicU64] {
        self.shared
            .map_or(&self.own_folders[..], |words| &words[2..])
    }

    /// Calls `sync`, which waits until all folders that exist are on the disk, unless that was done since the folder of
    /// `name` was made. Folders are never removed.
    ///
    /// # Errors
    /// Those of `sync`.
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

    /// Notes that a name was claimed, which is seen on the disk by now.
    pub(super) fn note_claim(&self) {
        if let Some(claims) = self.claims() {
            claims.fetch_add(1, SeqCst);
        }
    }

    /// Whether `name` is claimed, as `look` finds on the disk. A name that was not is looked for again after the next
    /// claim.
    ///
    /// # Errors
    /// Those of `look`.
    pub(super) fn is_claimed<E>(
        &self,
        name: &Name,
        look: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        // Before it is looked for.
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

    /// Notes that this process is going to watch a mailbox, or does not watch it any more.
    pub(super) fn note_watcher(&self, begins: bool) {
        if let Some(watchers) = self.watchers() {
            if begins {
                watchers.fetch_add(1, SeqCst);
            } else {
                watchers.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Whether a process may be watching a mailbox. One that begins after this reads the mailbox later than this process
    /// has written to it.
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
    fn a_name_is_looked_for_again_once_somebody_note_claim_one() {
        let mut flags = Flags::default();
        assert!(
            asked(&flags, "al", false) && asked(&flags, "al", false),
            "alone"
        );
        flags.share(Box::leak(Box::default()));
        assert!(asked(&flags, "al", false));
        assert!(!asked(&flags, "al", false));
        assert!(asked(&flags, "bob", false), "another");
        assert!(asked(&flags, "al", false), "one is remembered");
        flags.note_claim();
        assert!(asked(&flags, "al", true));
        assert!(asked(&flags, "al", true), "it may be released");
    }

    #[test]
    fn watchers_are_counted() {
        let mut flags = Flags::default();
        assert!(flags.may_be_watched(), "nobody knows");
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
