//! What the processes of one daemon tell each other in shared memory, so that they need not look at the disk for what is
//! mostly not there: claims, and watchers.
//!
//! A process that shares nothing looks at the disk each time.

use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU64, fence};

use crate::name::Name;

/// How many words it takes.
pub(super) const WORDS: usize = 2;

/// The words that they share.
#[derive(Debug, Default)]
pub(super) struct Hints {
    words: Option<&'static [AtomicU64; WORDS]>,
    /// A name that nobody had claimed when so many claims had been made.
    unclaimed: Mutex<Option<(u64, Name)>>,
}

impl Hints {
    /// From now on these words are shared, all of them 0 at first, with all who are forked from now on.
    pub(super) fn share(&mut self, words: &'static [AtomicU64; WORDS]) {
        self.words = Some(words);
    }

    /// How many claims have been made since the daemon was started.
    fn claims(&self) -> Option<&'static AtomicU64> {
        self.words.map(|[claims, _]| claims)
    }

    /// How many watch a mailbox, and how many were killed while they did.
    fn watchers(&self) -> Option<&'static AtomicU64> {
        self.words.map(|[_, watchers]| watchers)
    }

    /// Somebody has claimed a name, which is seen on the disk by now.
    pub(super) fn has_claimed(&self) {
        if let Some(claims) = self.claims() {
            claims.fetch_add(1, SeqCst);
        }
    }

    /// Whether `name` is claimed, as `look` finds on the disk; it is not asked again before somebody has claimed a name.
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

    /// Somebody is going to watch, or does not watch any more.
    pub(super) fn watches(&self, begins: bool) {
        if let Some(watchers) = self.watchers() {
            if begins {
                watchers.fetch_add(1, SeqCst);
            } else {
                watchers.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Whether anybody may watch a mailbox. Whoever begins to after this looks at it later than what was written before.
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

    fn asked(hints: &Hints, name: &str, claimed: bool) -> bool {
        let mut asked = false;
        let found = hints.is_claimed(&n(name), || {
            asked = true;
            Ok::<_, ()>(claimed)
        });
        assert_eq!(found, Ok(claimed));
        asked
    }

    #[test]
    fn a_name_is_looked_for_again_once_somebody_has_claimed_one() {
        let mut hints = Hints::default();
        assert!(
            asked(&hints, "al", false) && asked(&hints, "al", false),
            "alone"
        );
        hints.share(Box::leak(Box::default()));
        assert!(asked(&hints, "al", false));
        assert!(!asked(&hints, "al", false));
        assert!(asked(&hints, "bob", false), "another");
        assert!(asked(&hints, "al", false), "one is remembered");
        hints.has_claimed();
        assert!(asked(&hints, "al", true));
        assert!(asked(&hints, "al", true), "it may be released");
    }

    #[test]
    fn watchers_are_counted() {
        let mut hints = Hints::default();
        assert!(hints.may_be_watched(), "nobody knows");
        hints.share(Box::leak(Box::default()));
        assert!(!hints.may_be_watched());
        hints.watches(true);
        hints.watches(true);
        hints.watches(false);
        assert!(hints.may_be_watched());
        hints.watches(false);
        assert!(!hints.may_be_watched());
    }
}
