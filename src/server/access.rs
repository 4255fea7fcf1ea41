//! What the master and its children share about the access of TCP clients: whether the configuration has become
//! narrower, and which names the log has reported as closed.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use crate::name::Name;

/// The number of names that are kept. Beyond it, a name may be reported more than once.
const NAMES: usize = 1_024;

/// The shared state, as one process sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    /// How many times the configuration has become narrower.
    narrowed: &'static AtomicU64,
    /// The value of `narrowed` when this process got its configuration.
    seen: u64,
    /// Hashes of the names that were reported; 0 in an unused place.
    names: &'static [AtomicU64],
}

impl Access {
    /// The number of words that the processes share.
    pub(super) const SHARED_WORDS: usize = 1 + NAMES;

    /// Uses these words, which are zeros, for this process and those that it forks from now on.
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        Self {
            narrowed: &words[0],
            seen: 0,
            names: &words[1..],
        }
    }

    /// Records that this process, the master, has a narrower configuration. Its present children are then no longer
    /// current.
    pub(super) fn narrow(&mut self) {
        self.seen = self.narrowed.fetch_add(1, SeqCst) + 1;
    }

    /// Returns whether this process may still give access by its configuration.
    pub(super) fn is_current(self) -> bool {
        self.narrowed.load(SeqCst) == self.seen
    }

    /// Returns whether this is the first report that `name` is closed, by any process.
    pub(super) fn is_first_report(self, name: &Name) -> bool {
        let hash = u64::from(crc32fast::hash(name.as_str().as_bytes()));
        // Not 0, whatever the name is.
        let mark = hash | 1 << 32;
        let start = usize::try_from(hash).unwrap_or_default();
        for n in 0..NAMES {
            let place = &self.names[start.wrapping_add(n) % NAMES];
            match place.compare_exchange(0, mark, SeqCst, SeqCst) {
                Ok(_) => return true,
                Err(other) if other == mark => return false,
                Err(_) => {}
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::shared;

    fn access() -> Access {
        Access::new(shared::words(Access::SHARED_WORDS).expect("shared"))
    }

    #[test]
    fn a_process_with_a_wider_configuration_is_not_current() {
        let mut master = access();
        let child = master;
        assert!(master.is_current() && child.is_current());
        master.narrow();
        assert!(master.is_current() && !child.is_current());
        let next = master;
        assert!(next.is_current());
    }

    #[test]
    fn a_name_is_reported_once() {
        let access = access();
        let name = |n: usize| format!("n{n}").parse::<Name>().expect("a name");
        for n in 0..NAMES {
            assert!(access.is_first_report(&name(n)), "{n}");
        }
        for n in 0..NAMES {
            assert!(!access.is_first_report(&name(n)), "{n}");
        }
        assert!(access.is_first_report(&name(NAMES)), "there is no place");
    }
}
