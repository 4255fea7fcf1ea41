//! The login directory of a daemon: which names and user IDs are logins of this machine.
//!
//! The master keeps the logins of /etc/passwd in memory and watches the file (inotify(7)). A change increments a
//! generation in shared memory, so that a child that was forked before it reads the file again. A lookup of a name that
//! is not in the file costs no system call if all logins are in files; otherwise it runs getent(1) through the login
//! helper, and the answer is kept for a minute in memory that all children share.

use std::cell::{Cell, RefCell};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::mman::{MapFlags, ProtFlags};

use super::files::Key;
use super::table::LoginTable;
use super::{ELSEWHERE, Elsewhere, LOGINS};
use crate::sys::clock;

/// The uid that the kernel reports for processes of other user namespaces (/proc/sys/kernel/overflowuid). It is no proof
/// of identity.
const OVERFLOW_UID: u32 = 65_534;
/// How long an answer of getent is used.
const ANSWER_LIFETIME: Duration = Duration::from_secs(60);
/// The number of answers that are kept.
const ANSWERS: usize = 512;
/// The number of words that hold a name.
const NAME_WORDS: usize = 7;
/// The uid of a kept answer that there is no such login.
const NO_LOGIN: u32 = u32::MAX;

/// The logins of this machine, for the master and its children.
#[derive(Debug)]
pub(crate) struct LoginDirectory {
    table: RefCell<LoginTable>,
    /// The generation that `table` belongs to.
    generation: Cell<u64>,
    shared: &'static Shared,
    watch: Inotify,
}

/// The memory that the master shares with its children.
#[derive(Debug)]
struct Shared {
    generation: AtomicU64,
    answers: [Answer; ANSWERS],
}

/// A kept answer of getent. Writers make `version` odd while they write; a reader that sees it odd or changed ignores the
/// answer.
#[derive(Debug)]
struct Answer {
    version: AtomicU32,
    uid: AtomicU32,
    /// When the answer was written, in milliseconds since the boot; 0 if the slot is empty.
    at: AtomicU64,
    name: [AtomicU64; NAME_WORDS],
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
        Ok(Self {
            table: RefCell::new(LoginTable::of_this_machine()?),
            generation: Cell::new(0),
            shared: Shared::map()?,
            watch,
        })
    }

    /// Returns the descriptor to poll: it is readable after a change in /etc.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Reads the logins again if /etc/passwd has changed. To be called by the master when [`fd`](Self::fd) is readable.
    pub(crate) fn refresh(&self) {
        let file = Path::new(LOGINS).file_name();
        let mut changed = false;
        while let Ok(events) = self.watch.read_events() {
            // Without a name, the queue of events has overflowed.
            changed |= events
                .iter()
                .any(|event| event.name.is_none() || event.name.as_deref() == file);
        }
        if !changed {
            return;
        }
        match reread() {
            Ok(table) => {
                *self.table.borrow_mut() = table;
                self.shared.generation.fetch_add(1, SeqCst);
                self.generation.set(self.shared.generation.load(SeqCst));
            }
            Err(e) => log::error!("{e}; the logins stay as they were"),
        }
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
    /// When the lookup fails or times out.
    pub(crate) fn uid_of(&self, name: &str) -> io::Result<Option<u32>> {
        if let Some(uid) = self.with_table(|table| table.uid_of(name))? {
            return Ok(Some(uid));
        }
        if !matches!(ELSEWHERE.get(), Some(Elsewhere::Helper(_))) {
            return Ok(None);
        }
        let kept = self.shared.answer(name);
        if let Some(uid) = kept.known(name) {
            return Ok(uid);
        }
        let uid = super::find(Key::Name(name))?.map(|entry| entry.uid);
        kept.keep(name, uid);
        Ok(uid)
    }

    /// Returns the login of this user ID; `None` if it has none, or if the name of that login has another user ID. The
    /// overflow uid of the kernel has none.
    ///
    /// # Errors
    /// When the lookup fails or times out.
    pub(crate) fn login_of(&self, uid: u32) -> io::Result<Option<String>> {
        if uid == OVERFLOW_UID {
            return Ok(None);
        }
        let in_file = self.with_table(|table| table.name_of(uid).map(str::to_owned))?;
        if in_file.is_some() {
            return Ok(in_file);
        }
        let Some(entry) = super::find(Key::Uid(uid))? else {
            return Ok(None);
        };
        let is_same = self.uid_of(&entry.name)? == Some(uid);
        Ok(is_same.then_some(entry.name))
    }
}

/// Reads /etc/passwd after a change. It must exist: a file that is missing for a moment must not open all names.
fn reread() -> io::Result<LoginTable> {
    let missing = || io::Error::other(format!("cannot read {LOGINS}: it is missing"));
    super::in_file(LOGINS, LoginTable::read)?.ok_or_else(missing)
}

impl Shared {
    /// Maps the memory for this process and its children (mmap(2)).
    fn map() -> io::Result<&'static Self> {
        let bytes = NonZeroUsize::new(size_of::<Self>()).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: the kernel chooses an unused range of addresses.
        let start = unsafe { nix::sys::mman::mmap_anonymous(None, bytes, access, flags) }?;
        // SAFETY: the mapping is permanent, aligned to a page and large enough. Zeros are valid for all fields. All access
        // is through atomics.
        Ok(unsafe { start.cast().as_ref() })
    }

    /// Returns the slot for answers about `name`.
    fn answer(&self, name: &str) -> &Answer {
        &self.answers[crc32fast::hash(name.as_bytes()) as usize % ANSWERS]
    }
}

impl Answer {
    /// Returns the kept answer about `name`, if there is one that is not too old.
    fn known(&self, name: &str) -> Option<Option<u32>> {
        let version = self.version.load(SeqCst);
        let (at, uid) = (self.at.load(SeqCst), self.uid.load(SeqCst));
        let is_it = words(name)?
            .iter()
            .zip(&self.name)
            .all(|(word, kept)| kept.load(SeqCst) == *word);
        let is_whole = version.is_multiple_of(2) && self.version.load(SeqCst) == version;
        let age = clock::boot_millis().saturating_sub(at);
        let is_fresh = at > 0 && u128::from(age) < ANSWER_LIFETIME.as_millis();
        (is_it && is_whole && is_fresh).then_some((uid != NO_LOGIN).then_some(uid))
    }

    /// Keeps an answer about `name`, unless another process is writing to this slot. A process that is killed while it
    /// writes leaves the slot unusable until the daemon is restarted.
    fn keep(&self, name: &str, uid: Option<u32>) {
        let version = self.version.load(SeqCst);
        let Some(words) = words(name).filter(|_| version.is_multiple_of(2)) else {
            return;
        };
        let begun = version.wrapping_add(1);
        let taken = self
            .version
            .compare_exchange(version, begun, SeqCst, SeqCst);
        if taken.is_err() {
            return;
        }
        self.uid.store(uid.unwrap_or(NO_LOGIN), SeqCst);
        self.at.store(clock::boot_millis().max(1), SeqCst);
        for (word, kept) in words.iter().zip(&self.name) {
            kept.store(*word, SeqCst);
        }
        self.version.store(begun.wrapping_add(1), SeqCst);
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

    #[test]
    fn answers_are_kept_for_their_name_only() {
        let shared = Shared::map().expect("mapped");
        let slot = shared.answer("al");
        assert_eq!(slot.known("al"), None);
        slot.keep("al", Some(7));
        assert_eq!(slot.known("al"), Some(Some(7)));
        assert_eq!(slot.known("a"), None);
        assert_eq!(slot.known("all"), None);
        slot.keep("bob", None);
        assert_eq!((slot.known("bob"), slot.known("al")), (Some(None), None));
        let long = "x".repeat(NAME_WORDS * 8 + 1);
        slot.keep(&long, Some(1));
        assert_eq!(slot.known(&long), None);
    }

    #[test]
    fn finds_the_logins_of_this_machine() {
        let directory = LoginDirectory::open().expect("opened");
        assert_eq!(directory.uid_of("root").expect("read"), Some(0));
        assert_eq!(
            directory.login_of(0).expect("read").as_deref(),
            Some("root")
        );
        assert_eq!(directory.login_of(OVERFLOW_UID).expect("read"), None);
        assert_eq!(directory.uid_of("no such login").expect("read"), None);
    }
}
