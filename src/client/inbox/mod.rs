//! The inbox: what came from other clients is on the disk before they are told that we have it, and is shown
//! once.
//!
//! Each name has a log of its own, to which every client of that name appends, one at a time: a message that
//! was received, or that it was shown. Messages that were read from the server are noted as well, for the
//! same message can come both ways. What was received and not yet shown waits for whoever shows messages
//! next.

mod entry;

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub(in crate::client) use self::entry::ReceivedMessage;

use self::entry::{HEAD, InboxEntry, SyncMarker};
use crate::client::state_dir::{self, StateError};
use crate::message::MessageId;
use crate::name::Name;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::{HeldLock, Locked};
use crate::sys::random;

/// A log that is longer than this, in bytes, is written anew.
const LONG: u64 = 4 << 20;
/// How many bytes of messages may wait to be shown. More are not taken, nor acknowledged: their senders leave
/// them at the server.
const MOST_WAITING: usize = 8 << 20;

/// How long a command waits while another client of the same name shows messages.
pub(in crate::client) const COMMAND_WAIT: Duration = Duration::from_secs(10);
/// How long the menu waits for that.
pub(in crate::client) const MENU_WAIT: Duration = Duration::from_secs(2);
/// How many ids of messages that were shown a log keeps that is written anew.
const MOST_IDS: usize = 20_000;

/// What went wrong with the inbox.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum InboxError {
    /// There is no place for it.
    #[error(transparent)]
    Place(#[from] StateError),
    /// The log cannot be read or written.
    #[error("cannot use the inbox {0}: {1}")]
    Log(PathBuf, io::Error),
    /// The file is something else.
    #[error("{0} is not an inbox; move it away")]
    Strange(PathBuf),
    /// Too much waits to be shown.
    #[error("the inbox is full; read what is in it")]
    Full,
}

/// The inbox of one name, as this process sees it.
#[derive(Debug)]
pub(in crate::client) struct Inbox {
    dir: Dir,
    name: String,
    file: File,
    mark: SyncMarker,
    /// How far the file has been read.
    end: u64,
    ids: HashSet<MessageId>,
    /// The ids of what was shown, oldest first.
    shown: VecDeque<MessageId>,
    waiting: Vec<ReceivedMessage>,
    /// How many bytes were found that are no entries, and not yet told.
    damaged: u64,
    /// Whether such bytes are in the file.
    unclean: bool,
}

impl Inbox {
    /// Opens the inbox of `user`, and makes it if there is none. To be opened after a fork, never across it.
    ///
    /// # Errors
    /// When it cannot be made, read or locked.
    pub(in crate::client) fn open(user: &Name) -> Result<Self, InboxError> {
        Self::open_in(state_dir::directory("inbox")?, user)
    }

    fn open_in(dir: Dir, user: &Name) -> Result<Self, InboxError> {
        let name = user.to_string();
        let path = dir.path_of(&name);
        let file = dir
            .file_or_new(&name)
            .map_err(|e| InboxError::Log(path, e))?;
        let mut inbox = Self {
            dir,
            name,
            file,
            mark: SyncMarker::default(),
            end: 0,
            ids: HashSet::new(),
            shown: VecDeque::new(),
            waiting: Vec::new(),
            damaged: 0,
            unclean: false,
        };
        inbox.locked(|_| Ok(()))?;
        Ok(inbox)
    }

    /// Takes a message in. When this returns, it is on the disk, and `true` if it was not there before.
    ///
    /// # Errors
    /// The message is not taken and must not be acknowledged.
    pub(in crate::client) fn receive(
        &mut self,
        message: &ReceivedMessage,
    ) -> Result<bool, InboxError> {
        self.locked(|inbox| {
            if inbox.ids.contains(&message.id) {
                return Ok(Ok(false));
            }
            if inbox.waiting_bytes() + message.body.len() > MOST_WAITING {
                return Ok(Err(InboxError::Full));
            }
            inbox.append(vec![InboxEntry::Received(message.clone())])?;
            Ok(Ok(true))
        })?
    }

    /// Whether this message has come already, whichever way.
    ///
    /// # Errors
    /// When the inbox cannot be read.
    pub(in crate::client) fn knows(&mut self, id: MessageId) -> Result<bool, InboxError> {
        self.locked(|inbox| Ok(inbox.ids.contains(&id)))
    }

    /// What was received and not yet shown, oldest first.
    ///
    /// # Errors
    /// When the inbox cannot be read.
    pub(in crate::client) fn waiting(&mut self) -> Result<Vec<ReceivedMessage>, InboxError> {
        self.locked(|inbox| Ok(inbox.waiting.clone()))
    }

    /// Notes that these were shown, also those that came through the server. When this returns, that is on
    /// the disk.
    ///
    /// # Errors
    /// They may be shown once more.
    pub(in crate::client) fn note_shown(&mut self, ids: &[MessageId]) -> Result<(), InboxError> {
        self.locked(|inbox| {
            let new = |id: &&MessageId| {
                !inbox.ids.contains(id) || inbox.waiting.iter().any(|m| m.id == **id)
            };
            let entries: Vec<_> = ids
                .iter()
                .filter(new)
                .copied()
                .map(InboxEntry::Shown)
                .collect();
            inbox.append(entries)
        })
    }

    /// The right to show messages, which one process of a name has at a time; `None` when another one still
    /// has it after `limit`.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub(in crate::client) fn showing(&self, limit: Duration) -> Result<Option<Locked>, InboxError> {
        // No name begins with a dot.
        let name = format!(".{}.showing", self.name);
        self.dir
            .file_or_new(&name)
            .and_then(|file| Locked::within(file, limit))
            .map(Result::ok)
            .map_err(|e| InboxError::Log(self.dir.path_of(&name), e))
    }

    /// How many bytes of it were found damaged since this was asked last, in words.
    pub(in crate::client) fn damage(&mut self) -> Option<String> {
        let damaged = std::mem::take(&mut self.damaged);
        (damaged > 0).then(|| {
            format!(
                "the inbox {} was damaged: {damaged} bytes of it cannot be read, and what they held is lost",
                self.path().display()
            )
        })
    }

    fn path(&self) -> PathBuf {
        self.dir.path_of(&self.name)
    }

    /// What waits, in bytes of the log, at most.
    fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|m| m.body.len() + 128).sum()
    }

    /// Does something with the log while nobody else does, and after everything in it has been read.
    fn locked<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> Result<T, InboxError> {
        let path = self.path();
        match self.try_locked(work) {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(InboxError::Strange(path)),
            Err(e) => Err(InboxError::Log(path, e)),
        }
    }

    /// As [`locked`](Self::locked); `None` when the file is no inbox.
    fn try_locked<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        loop {
            let file = self.file.try_clone()?;
            let held = HeldLock::wait(&file)?;
            if !file::facts(&file)?.named {
                // Somebody has written it anew.
                drop(held);
                self.file = self.dir.file_or_new(&self.name)?;
                self.end = 0;
                continue;
            }
            if !self.catch_up()? {
                return Ok(None);
            }
            let done = work(self)?;
            let waiting = self.waiting_bytes() as u64;
            if self.unclean || self.end > LONG + 2 * waiting {
                // Where that fails, the old log is as good as it was.
                let _ = self.rewrite();
            }
            return Ok(Some(done));
        }
    }

    /// Reads what others have appended; `false` when the file is no inbox.
    fn catch_up(&mut self) -> io::Result<bool> {
        if self.end == 0 {
            self.unclean = false;
            self.ids.clear();
            self.shown.clear();
            self.waiting.clear();
            let mut head = [0; HEAD];
            let len = file::read_at(&self.file, &mut head, 0)?;
            match entry::decode_head(&head[..len]) {
                Some(mark) => self.mark = mark,
                // Its maker was interrupted before anything was in it.
                None if head == [0; HEAD] || (len < HEAD && head.starts_with(b"D")) => {
                    self.begin()?;
                }
                None => return Ok(false),
            }
            self.end = HEAD as u64;
        }
        let len = file::facts(&self.file)?.len;
        let unread = usize::try_from(len.saturating_sub(self.end)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; unread];
        let n = file::read_at(&self.file, &mut bytes, self.end)?;
        let scan = entry::scan(&bytes[..n], self.mark);
        self.end += scan.end as u64;
        self.damaged += scan.damaged as u64;
        self.unclean |= scan.damaged > 0;
        scan.entries.into_iter().for_each(|entry| self.apply(entry));
        Ok(true)
    }

    fn apply(&mut self, entry: InboxEntry) {
        match entry {
            InboxEntry::Received(message) => {
                if self.ids.insert(message.id) {
                    self.waiting.push(message);
                }
            }
            InboxEntry::Shown(id) => {
                self.ids.insert(id);
                self.waiting.retain(|message| message.id != id);
                self.shown.push_back(id);
            }
        }
    }

    /// Appends entries, and waits until they are on the disk. A torn end that a killed process has left is
    /// cut before.
    fn append(&mut self, entries: Vec<InboxEntry>) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for entry in &entries {
            entry::encode(&mut bytes, self.mark, entry);
        }
        if file::facts(&self.file)?.len > self.end {
            file::truncate(&self.file, self.end)?;
        }
        let written =
            file::write_at(&self.file, &bytes, self.end).and_then(|()| file::sync(&self.file));
        if let Err(e) = written {
            // What is there of it is not to be believed, for nobody was told that it is.
            let _ = file::truncate(&self.file, self.end);
            return Err(e);
        }
        self.end += bytes.len() as u64;
        entries.into_iter().for_each(|entry| self.apply(entry));
        Ok(())
    }

    /// Makes the file an empty inbox.
    fn begin(&mut self) -> io::Result<()> {
        self.mark = new_mark()?;
        file::truncate(&self.file, 0)?;
        file::write_at(&self.file, &entry::encode_head(self.mark), 0)?;
        file::sync(&self.file)?;
        self.dir.sync()
    }

    /// Writes the log anew, with what is still of use: what waits, and the newest ids.
    fn rewrite(&mut self) -> io::Result<()> {
        while self.shown.len() > MOST_IDS {
            if let Some(id) = self.shown.pop_front() {
                self.ids.remove(&id);
            }
        }
        let mark = new_mark()?;
        let mut bytes = entry::encode_head(mark);
        for &id in &self.shown {
            entry::encode(&mut bytes, mark, &InboxEntry::Shown(id));
        }
        for message in &self.waiting {
            entry::encode(&mut bytes, mark, &InboxEntry::Received(message.clone()));
        }
        let new_name = format!(".{}.new", self.name);
        let file = self.dir.file_or_new(&new_name)?;
        file::truncate(&file, 0)?;
        file::write_at(&file, &bytes, 0)?;
        file::sync(&file)?;
        self.dir.rename(&new_name, &self.name)?;
        self.dir.sync()?;
        self.file = file;
        self.mark = mark;
        self.unclean = false;
        self.end = bytes.len() as u64;
        Ok(())
    }
}

fn new_mark() -> io::Result<SyncMarker> {
    let mut mark = SyncMarker::default();
    random::fill(&mut mark)?;
    Ok(mark)
}

#[cfg(test)]
mod tests;
