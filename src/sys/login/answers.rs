//! Answers of getent(1), kept in memory that the master shares with its children.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::sys::clock;

/// How long an answer is used before getent is asked again.
const LIFETIME: Duration = Duration::from_secs(60);
/// The number of words that hold a name.
const NAME_WORDS: usize = 7;
/// The number of words of an answer.
pub(super) const WORDS: usize = 3 + NAME_WORDS;
/// The uid of an answer that there is no such login.
const NO_LOGIN: u64 = u64::MAX;

/// A place for an answer: four fields in shared words. Writers make the version odd while they write; a reader that sees
/// it odd or changed ignores the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer(&'static [AtomicU64]);

/// An answer that a place holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) name: String,
    /// The uid of the login with this name; `None` if there is none.
    pub(super) uid: Option<u32>,
    /// Whether it is not older than a minute.
    pub(super) is_fresh: bool,
}

impl Answer {
    /// Returns the place in these words, of which there are [`WORDS`].
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        debug_assert_eq!(words.len(), WORDS);
        Self(words)
    }

    fn version(self) -> &'static AtomicU64 {
        &self.0[0]
    }

    fn uid(self) -> &'static AtomicU64 {
        &self.0[1]
    }

    /// When the answer was written, in milliseconds since the boot; 0 if the place is empty.
    fn at(self) -> &'static AtomicU64 {
        &self.0[2]
    }

    /// Returns when the answer was written, in milliseconds since the boot; 0 if the place is empty.
    pub(super) fn written(self) -> u64 {
        self.at().load(SeqCst)
    }

    fn name(self) -> &'static [AtomicU64] {
        &self.0[3..]
    }

    /// Returns the answer in this place, if there is one.
    pub(super) fn kept(self) -> Option<Kept> {
        let version = self.version().load(SeqCst);
        let (at, uid) = (self.at().load(SeqCst), self.uid().load(SeqCst));
        let words = self.name().iter().map(|word| word.load(SeqCst));
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        if !version.is_multiple_of(2) || self.version().load(SeqCst) != version || at == 0 {
            return None;
        }
        let name = String::from_utf8(bytes).ok()?;
        let age = clock::boot_millis().saturating_sub(at);
        Some(Kept {
            name: name.trim_end_matches('\0').to_owned(),
            uid: u32::try_from(uid).ok(),
            is_fresh: u128::from(age) < LIFETIME.as_millis(),
        })
    }

    /// Returns the answer in this place if it is about `name`.
    pub(super) fn about(self, name: &str) -> Option<Kept> {
        self.kept().filter(|kept| kept.name == name)
    }

    /// Keeps an answer about `name`, unless the name is too long or another process is writing to this place. A process
    /// that is killed while it writes leaves the place unusable until the daemon is restarted.
    pub(super) fn keep(self, name: &str, uid: Option<u32>) {
        if let Some(words) = words(name) {
            self.write(clock::boot_millis().max(1), uid, words);
        }
    }

    /// Empties this place.
    pub(super) fn clear(self) {
        self.write(0, None, [0; NAME_WORDS]);
    }

    /// Makes the answer older than a minute.
    #[cfg(test)]
    pub(super) fn age(self) {
        if let Some(kept) = self.kept() {
            let words = words(&kept.name).expect("it was kept");
            self.write(1, kept.uid, words);
        }
    }

    fn write(self, at: u64, uid: Option<u32>, words: [u64; NAME_WORDS]) {
        let version = self.version().load(SeqCst);
        let begun = version.wrapping_add(1);
        let take = || {
            self.version()
                .compare_exchange(version, begun, SeqCst, SeqCst)
        };
        if !version.is_multiple_of(2) || take().is_err() {
            return;
        }
        self.uid().store(uid.map_or(NO_LOGIN, u64::from), SeqCst);
        self.at().store(at, SeqCst);
        for (word, kept) in words.iter().zip(self.name()) {
            kept.store(*word, SeqCst);
        }
        self.version().store(begun.wrapping_add(1), SeqCst);
    }
}

/// Returns a name as words; `None` if it is longer than they are.
fn words(name: &str) -> Option<[u64; NAME_WORDS]> {
    let mut bytes = [0; NAME_WORDS * 8];
    bytes
        .get_mut(..name.len())?
        .copy_from_slice(name.as_bytes());
    let mut words = [0; NAME_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::shared;

    #[test]
    fn an_answer_is_kept_for_its_name_only() {
        let place = Answer::new(shared::words(WORDS).expect("mapped"));
        assert_eq!(place.kept(), None);
        place.keep("al", Some(7));
        let kept = place.about("al").expect("kept");
        assert_eq!((kept.uid, kept.is_fresh), (Some(7), true));
        assert_eq!((place.about("a"), place.about("all")), (None, None));
        place.keep("bob", None);
        assert_eq!(place.about("bob").expect("kept").uid, None);
        assert_eq!(place.about("al"), None);
        let long = "x".repeat(NAME_WORDS * 8 + 1);
        place.keep(&long, Some(1));
        assert_eq!(place.kept().expect("kept").name, "bob");
        place.clear();
        assert_eq!(place.kept(), None);
    }

    #[test]
    fn an_answer_is_no_longer_fresh_after_a_minute() {
        let place = Answer::new(shared::words(WORDS).expect("mapped"));
        place.keep("al", Some(7));
        place.age();
        // It is kept: without another answer, it stands.
        let kept = place.about("al").expect("kept");
        assert_eq!((kept.uid, kept.is_fresh), (Some(7), false));
    }
}
