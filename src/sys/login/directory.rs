//! The login directory of a daemon: which names and user IDs are logins of this machine.
//!
//! The master keeps the logins of /etc/passwd in memory and watches the file (inotify(7)). A change increments a
//! generation in shared memory, so that a child that was forked before it reads the file again. A lookup of a name that
//! is not in the file costs no system call if all logins are in files; otherwise it runs getent(1) through the login
//! helper, and the answer is kept for a minute in memory that all children share.
//!
//! getent reports that there is no such login also while a source such as LDAP is away. If there are such sources, this
//! counts only if a *canary*, a login that is known to come from there, resolves before and after it. Without an answer
//! that counts, the last login that was found stands.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::answers::{self, Answer};
use super::files::{self, Entry, Key};
use super::helper::{Purpose, Requests};
use super::subordinate::{SUBORDINATES, Subordinates};
use super::table::LoginTable;
use super::{ELSEWHERE, Elsewhere, LOGINS};
use crate::sys::shared;

/// The file with the uid that the kernel reports for processes of other user namespaces. It is no proof of identity.
const OVERFLOW_UID: &str = "/proc/sys/kernel/overflowuid";
/// The kernel's default for it.
const USUAL_OVERFLOW_UID: u32 = 65_534;

/// The number of answers that are kept about names, and about user IDs.
const ANSWERS: usize = 512;
/// The number of canaries. There are several because a login may be deleted.
const CANARIES: usize = 4;

/// The logins of this machine, for the master and its children.
#[derive(Debug)]
pub(crate) struct LoginDirectory {
    table: RefCell<LoginTable>,
    /// The generation that `table` belongs to.
    generation: Cell<u64>,
    /// The subordinate user IDs of the logins, for the master alone.
    subordinates: RefCell<Subordinates>,
    shared: Shared,
    watch: Inotify,
    overflow_uid: u32,
}

/// The memory that the master shares with its children.
#[derive(Clone, Copy, Debug)]
struct Shared {
    generation: &'static AtomicU64,
    /// Whether no canary resolved when one was last asked for: they may be deleted.
    doubted: &'static AtomicU64,
    /// Whether the canaries have changed since they were last taken.
    changed: &'static AtomicU64,
    canaries: &'static [AtomicU64],
    names: &'static [AtomicU64],
    uids: &'static [AtomicU64],
}

impl LoginDirectory {
    /// Reads the logins of this machine, and watches /etc for changes.
    ///
    /// # Errors
    /// When /etc/passwd exists and cannot be read; those of `inotify_add_watch(2)` and `mmap(2)`.
    pub(crate) fn open() -> io::Result<Self> {
        let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let changes = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_CREATE;
        let etc = Path::new(LOGINS).parent().unwrap_or(Path::new("/"));
        // Before the file is read, so that no change is missed.
        watch.add_watch(etc, changes)?;
        let table = LoginTable::of_this_machine()?;
        Ok(Self {
            subordinates: RefCell::new(Subordinates::of_this_machine(&table)),
            table: RefCell::new(table),
            generation: Cell::new(0),
            shared: Shared::map()?,
            watch,
            overflow_uid: overflow_uid(),
        })
    }

    /// Returns the descriptor to poll: it is readable after a change in /etc.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Reads the logins again if /etc/passwd has changed, and their subordinate user IDs. To be called by the master
    /// when [`fd`](Self::fd) is readable.
    pub(crate) fn refresh(&self) {
        let [logins, subordinates] = [LOGINS, SUBORDINATES].map(|path| Path::new(path).file_name());
        let (mut changed, mut counted) = (false, false);
        while let Ok(events) = self.watch.read_events() {
            for event in &events {
                let name = event.name.as_deref();
                // Without a name, the queue of events has overflowed.
                changed |= name.is_none() || name == logins;
                counted |= name == subordinates;
            }
        }
        if changed {
            self.refresh_logins();
        }
        if changed || counted {
            let subordinates = Subordinates::of_this_machine(&self.table.borrow());
            *self.subordinates.borrow_mut() = subordinates;
        }
    }

    fn refresh_logins(&self) {
        match reread() {
            Ok(table) => {
                *self.table.borrow_mut() = table;
                self.shared.generation.fetch_add(1, SeqCst);
                self.generation.set(self.shared.generation.load(SeqCst));
            }
            Err(e) => {
                log::error!(
                    "{e}; clients whose name must be looked up are refused until it can be read"
                );
                // Each process reads the file for itself, also this one, until it succeeds.
                self.shared.generation.fetch_add(1, SeqCst);
            }
        }
    }

    /// Returns the user ID that `uid` counts as, for the accounting of the master: that of the login to which it is
    /// subordinate (subuid(5)), else itself. This is no proof of identity.
    pub(crate) fn counted_as(&self, uid: u32) -> u32 {
        let login = self.subordinates.borrow().login_of(uid);
        let is_login = || self.table.borrow().name_of(uid).is_some();
        login.filter(|_| !is_login()).unwrap_or(uid)
    }

    /// Calls `look` with the current logins of /etc/passwd.
    fn with_table<T>(&self, look: impl FnOnce(&LoginTable) -> T) -> io::Result<T> {
        let now = self.shared.generation.load(SeqCst);
        if now != self.generation.get() {
            *self.table.borrow_mut() = reread()?;
            self.generation.set(now);
        }
        Ok(look(&self.table.borrow()))
    }

    /// Returns the user ID of the login with this name; `None` if there is none.
    ///
    /// # Errors
    /// When the lookup fails, times out or proves nothing, and no earlier answer is kept.
    pub(crate) fn uid_of(&self, name: &str) -> io::Result<Option<u32>> {
        if let Some(uid) = self.with_table(|table| table.uid_of(name))? {
            return Ok(Some(uid));
        }
        requests()?.map_or(Ok(None), |requests| self.uid_elsewhere(requests, name))
    }

    /// Looks up a name that is not in /etc/passwd: in memory, then with getent.
    fn uid_elsewhere(&self, requests: &Requests, name: &str) -> io::Result<Option<u32>> {
        let place = self.shared.of_name(name);
        let kept = place.about(name);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_fresh) {
            return Ok(kept.uid);
        }
        let asked = self.ask(requests, Key::Name(name), Purpose::Name);
        // That there was no such login does not stand: the account may have been made since then.
        let uid = asked
            .map(|entry| entry.map(|entry| entry.uid))
            .or_else(|e| kept.and_then(|kept| kept.uid).map(Some).ok_or(e))?;
        // Also if the last answer stands: for a minute, others do not wait for the directory again.
        place.keep(name, uid);
        Ok(uid)
    }

    /// Returns the login of this user ID; `None` if it has none, or if the name of that login has another user ID. The
    /// overflow uid of the kernel has none.
    ///
    /// # Errors
    /// As for [`uid_of`](Self::uid_of).
    pub(crate) fn login_of(&self, uid: u32) -> io::Result<Option<String>> {
        if uid == self.overflow_uid {
            return Ok(None);
        }
        let in_file = self.with_table(|table| table.name_of(uid).map(str::to_owned))?;
        if in_file.is_some() {
            return Ok(in_file);
        }
        requests()?.map_or(Ok(None), |requests| self.login_elsewhere(requests, uid))
    }

    /// Looks up a uid that is not in /etc/passwd: in memory, then with getent.
    fn login_elsewhere(&self, requests: &Requests, uid: u32) -> io::Result<Option<String>> {
        let place = self.shared.of_uid(uid);
        let kept = place.kept().filter(|kept| kept.uid == Some(uid));
        // A new account of the file may have the name.
        let kept = kept.filter(|kept| self.may_be(&kept.name, uid).unwrap_or(false));
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_fresh) {
            return Ok(Some(kept.name.clone()));
        }
        let asked = self.ask_both_ways(requests, uid);
        let login = asked.or_else(|e| kept.map(|kept| Some(kept.name)).ok_or(e))?;
        match &login {
            Some(name) => place.keep(name, Some(uid)),
            // Another uid may have the same place.
            None if place.kept().is_some_and(|kept| kept.uid == Some(uid)) => place.clear(),
            None => {}
        }
        Ok(login)
    }

    /// Returns whether /etc/passwd does not give this name to another uid.
    fn may_be(&self, name: &str, uid: u32) -> io::Result<bool> {
        let owner = self.with_table(|table| table.uid_of(name))?;
        Ok(owner.is_none_or(|owner| owner == uid))
    }

    /// Looks up the login of a uid with getent, in both directions.
    fn ask_both_ways(&self, requests: &Requests, uid: u32) -> io::Result<Option<String>> {
        let Some(entry) = self.ask(requests, Key::Uid(uid), Purpose::Client)? else {
            return Ok(None);
        };
        if !self.may_be(&entry.name, uid)? {
            return Ok(None);
        }
        let back = self.ask(requests, Key::Name(&entry.name), Purpose::Client)?;
        let is_it = back.is_some_and(|back| back.uid == uid);
        Ok(is_it.then_some(entry.name))
    }

    /// Asks getent for a login. One that it finds may become a canary.
    ///
    /// # Errors
    /// When the lookup fails, or it finds no login and this proves nothing.
    fn ask(
        &self,
        requests: &Requests,
        key: Key<'_>,
        purpose: Purpose,
    ) -> io::Result<Option<Entry>> {
        let Some(text) = key.argument() else {
            return Ok(None);
        };
        let answer = requests.ask(key, purpose)?;
        let mut entry = files::login(answer.as_slice(), key)?;
        if entry.is_none() && requests.asks_remote() {
            let again = self.ask_with_canaries(requests, text, purpose)?;
            entry = files::login(again.as_slice(), key)?;
        }
        if let Some(entry) = &entry {
            self.learn(requests, &entry.name, purpose);
        }
        Ok(entry)
    }

    /// Asks the sources that can be away for a login that getent has not found, and for the canaries before and after
    /// it: its absence counts if one of them resolves both times. Returns the entries, or nothing if no canary is
    /// known.
    ///
    /// # Errors
    /// When no canary resolves both times, or the lookup fails.
    fn ask_with_canaries(
        &self,
        requests: &Requests,
        key: String,
        purpose: Purpose,
    ) -> io::Result<Vec<u8>> {
        let (moved, canaries): (Vec<_>, Vec<_>) = self.with_table(|table| {
            let is_in_file = |name: &String| table.uid_of(name).is_some();
            self.canaries().into_iter().partition(is_in_file)
        })?;
        // Those that have moved to the file prove nothing.
        moved
            .iter()
            .for_each(|name| self.shared.remove_canary(name));
        if canaries.is_empty() {
            return Ok(Vec::new());
        }
        let keys = [canaries.as_slice(), &[key], canaries.as_slice()].concat();
        let answer = requests.ask_remote(&keys, purpose)?;
        let found = |times| {
            let is_found = |name: &&String| entries_of(&answer, name) == times;
            canaries.iter().filter(is_found).collect::<Vec<_>>()
        };
        if found(2).is_empty() {
            self.shared.doubted.store(1, SeqCst);
            let what = format!(
                "the directory seems to be away: getent does not find {} there any more",
                canaries.join(", ")
            );
            return Err(io::Error::new(io::ErrorKind::NotConnected, what));
        }
        self.shared.doubted.store(0, SeqCst);
        // The directory answers, so these are deleted.
        for name in found(0) {
            self.shared.remove_canary(name);
        }
        Ok(answer)
    }

    /// Makes a login that getent has found a canary, if one is missing and the login comes from a source that can be away.
    fn learn(&self, requests: &Requests, name: &str, purpose: Purpose) {
        let canaries = self.canaries();
        let is_full = canaries.len() == CANARIES && self.shared.doubted.load(SeqCst) == 0;
        let is_known = canaries.iter().any(|canary| canary == name);
        let is_word = name.bytes().all(|byte| byte.is_ascii_graphic());
        let in_file = || self.with_table(|table| table.uid_of(name).is_some());
        if !requests.asks_remote() || is_full || is_known || !is_word || in_file().unwrap_or(true) {
            return;
        }
        let names = [name.to_owned()];
        let there = requests.ask_remote(&names, purpose);
        if there.is_ok_and(|answer| has(&answer, name)) {
            self.shared.add_canary(name);
        }
    }

    /// Returns the canaries.
    fn canaries(&self) -> Vec<String> {
        let kept = self.shared.canaries().filter_map(Answer::kept);
        kept.map(|kept| kept.name).collect()
    }

    /// Adds canaries that an earlier daemon knew.
    pub(crate) fn expect<'n>(&self, names: impl IntoIterator<Item = &'n str>) {
        for (name, place) in names.into_iter().zip(self.shared.canaries()) {
            place.keep(name, None);
        }
    }

    /// Returns the canaries if they have changed since the last call by any process.
    pub(crate) fn changed_canaries(&self) -> Option<Vec<String>> {
        // Most calls only read: a write would need the cache line.
        let changed = self.shared.changed;
        let is_it = changed.load(SeqCst) != 0 && changed.swap(0, SeqCst) != 0;
        is_it.then(|| self.canaries())
    }
}

/// Returns whether the output of getent has a login with this name.
fn has(answer: &[u8], name: &str) -> bool {
    matches!(files::login(answer, Key::Name(name)), Ok(Some(_)))
}

/// Returns how many entries the output of getent has for the login with this name.
fn entries_of(answer: &[u8], name: &str) -> usize {
    let lines = answer.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| has(line, name)).count()
}

/// Returns the way to the login helper; `None` if all logins are in /etc/passwd.
///
/// # Errors
/// When there are more sources of logins, which this daemon cannot ask.
fn requests() -> io::Result<Option<&'static Requests>> {
    match ELSEWHERE.get() {
        Some(Elsewhere::Helper(requests)) => Ok(Some(requests)),
        Some(Elsewhere::Unavailable) => Err(super::unavailable()),
        Some(Elsewhere::Nowhere) | None => Ok(None),
    }
}

fn overflow_uid() -> u32 {
    let text = std::fs::read_to_string(OVERFLOW_UID).ok();
    let uid = text.and_then(|text| text.trim().parse().ok());
    uid.unwrap_or(USUAL_OVERFLOW_UID)
}

/// Reads /etc/passwd after a change. It must exist: a file that is missing for a moment must not open all names.
fn reread() -> io::Result<LoginTable> {
    let missing = || io::Error::other(format!("cannot read {LOGINS}: it is missing"));
    super::in_file(LOGINS, LoginTable::read)?.ok_or_else(missing)
}

impl Shared {
    /// Maps the memory for this process and its children.
    fn map() -> io::Result<Self> {
        let count = |answers: usize| answers * answers::WORDS;
        let words = shared::words(3 + count(CANARIES + 2 * ANSWERS))?;
        let (canaries, rest) = words[3..].split_at(count(CANARIES));
        let (names, uids) = rest.split_at(count(ANSWERS));
        Ok(Self {
            generation: &words[0],
            doubted: &words[1],
            changed: &words[2],
            canaries,
            names,
            uids,
        })
    }

    /// Returns the place for answers about `name`.
    fn of_name(self, name: &str) -> Answer {
        place(self.names, crc32fast::hash(name.as_bytes()))
    }

    /// Returns the place for answers about the login of `uid`. No flood of names can replace them.
    fn of_uid(self, uid: u32) -> Answer {
        place(self.uids, uid)
    }

    /// Returns the places for canaries.
    fn canaries(self) -> impl Iterator<Item = Answer> {
        let places = self.canaries.chunks_exact(answers::WORDS);
        places.map(Answer::new)
    }

    /// Adds a canary: to a free place, or to that of the oldest one.
    fn add_canary(self, name: &str) {
        let free = self.canaries().find(|place| place.kept().is_none());
        let oldest = || self.canaries().min_by_key(|place| place.written());
        if let Some(place) = free.or_else(oldest) {
            place.keep(name, None);
            self.doubted.store(0, SeqCst);
            self.changed.store(1, SeqCst);
        }
    }

    fn remove_canary(self, name: &str) {
        for place in self.canaries() {
            if place.about(name).is_some() {
                place.clear();
                self.changed.store(1, SeqCst);
            }
        }
    }
}

fn place(places: &'static [AtomicU64], key: u32) -> Answer {
    let start = key as usize % ANSWERS * answers::WORDS;
    Answer::new(&places[start..start + answers::WORDS])
}

#[cfg(test)]
mod tests;
