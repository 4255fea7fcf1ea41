//! The inbox: messages from other clients, durable before they are acknowledged, and shown once.
//!
//! Each user has a log, to which all clients of that user append under a lock: received messages, and the keys of shown
//! ones. A key has the sender and the trust in the sender, so that a sender who copies the id of another message does not
//! hide that message. Messages read from the server are recorded too, because a message can arrive both ways. Received messages wait
//! in the log until a client has shown them.

mod entry;

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub(in crate::client) use self::entry::ReceivedMessage;

use self::entry::{HEAD, InboxEntry, SyncMarker};
use crate::client::state_dir::{self, StateError};
use crate::message::MessageKey;
use crate::name::Name;
use crate::sys::clock::unix_millis;
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::{HeldLock, Locked};
use crate::sys::random;
use crate::wire::datagram::SECRET_LIFETIME;

/// Size, in bytes, above which a log is rewritten.
const LONG: u64 = 4 << 20;
/// Most bytes of messages that may wait to be shown. Further messages are not acknowledged, and their senders store
/// them on the server.
const MOST_WAITING: usize = 8 << 20;

/// How long a command waits while another client of the same user shows messages.
pub(in crate::client) const COMMAND_WAIT: Duration = Duration::from_secs(10);
/// How long the menu waits for it.
pub(in crate::client) const MENU_WAIT: Duration = Duration::from_secs(2);
/// Most keys of shown messages that a rewritten log keeps, besides recent ones.
const MOST_KEYS: usize = 20_000;
/// How long all keys are kept, in milliseconds: longer than any ticket is good, with which a datagram can come again.
const RECENT: u64 = 2 * 1_000 * SECRET_LIFETIME.as_secs();

/// Errors of the inbox.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum InboxError {
    /// Its directory cannot be used.
    #[error(transparent)]
    Place(#[from] StateError),
    #[error("cannot use the inbox {0}: {1}")]
    Log(PathBuf, io::Error),
    #[error("{0} is not an inbox; move it away")]
    Strange(PathBuf),
    #[error("the inbox is full; read the waiting messages")]
    Full,
}

/// The inbox of one user, as read by this process.
#[derive(Debug)]
pub(in crate::client) struct Inbox {
    dir: Dir,
    name: String,
    file: File,
    mark: SyncMarker,
    /// The offset up to which the file has been read.
    end: u64,
    /// The keys of received and shown messages.
    keys: HashSet<MessageKey>,
    /// The keys of shown messages and when they were shown, oldest first.
    shown: VecDeque<(MessageKey, u64)>,
    waiting: Vec<ReceivedMessage>,
    /// The number of damaged bytes that were not reported yet.
    damaged: u64,
    /// Whether the file contains damaged bytes.
    unclean: bool,
}

impl Inbox {
    /// Opens the inbox of `user`, and creates it if it does not exist. Must not be used across fork(2), which would
    /// share the lock.
    ///
    /// # Errors
    /// It cannot be created, read or locked.
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
            keys: HashSet::new(),
            shown: VecDeque::new(),
            waiting: Vec::new(),
            damaged: 0,
            unclean: false,
        };
        inbox.locked(|_| Ok(()))?;
        Ok(inbox)
    }

    /// Stores a message durably. Returns `false` if it was already received or shown.
    ///
    /// # Errors
    /// The message is not stored and must not be acknowledged.
    pub(in crate::client) fn receive(
        &mut self,
        message: &ReceivedMessage,
    ) -> Result<bool, InboxError> {
        self.locked(|inbox| {
            if inbox.keys.contains(&message.key) {
                return Ok(Ok(false));
            }
            if inbox.waiting_bytes() + message.body.len() > MOST_WAITING {
                return Ok(Err(InboxError::Full));
            }
            inbox.append(vec![InboxEntry::Received(message.clone())])?;
            Ok(Ok(true))
        })?
    }

    /// Returns whether this message was already received here, or shown.
    ///
    /// # Errors
    /// The inbox cannot be read.
    pub(in crate::client) fn knows(&mut self, key: &MessageKey) -> Result<bool, InboxError> {
        self.locked(|inbox| Ok(inbox.keys.contains(key)))
    }

    /// Returns the messages received and not shown yet, oldest first.
    ///
    /// # Errors
    /// The inbox cannot be read.
    pub(in crate::client) fn waiting(&mut self) -> Result<Vec<ReceivedMessage>, InboxError> {
        self.locked(|inbox| Ok(inbox.waiting.clone()))
    }

    /// Records durably that these messages were shown, including those read from the server.
    ///
    /// # Errors
    /// The messages may be shown again.
    pub(in crate::client) fn note_shown(&mut self, keys: &[MessageKey]) -> Result<(), InboxError> {
        self.locked(|inbox| {
            let new = |key: &&MessageKey| {
                !inbox.keys.contains(*key) || inbox.waiting.iter().any(|m| m.key == **key)
            };
            let now = unix_millis();
            let entries: Vec<_> = keys
                .iter()
                .filter(new)
                .map(|key| InboxEntry::Shown(key.clone(), now))
                .collect();
            inbox.append(entries)
        })
    }

    /// Takes the lock for showing messages, which one process of a user holds at a time. Returns `None` if another
    /// process still holds it after `limit`.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub(in crate::client) fn showing(&self, limit: Duration) -> Result<Option<Locked>, InboxError> {
        // No name begins with a dot.
        let name = format!(".{}.showing", self.name);
        self.dir
            .file_or_new(&name)
            .and_then(|file| Locked::within(file, limit))
            .map(Result::ok)
            .map_err(|e| InboxError::Log(self.dir.path_of(&name), e))
    }

    /// Describes damage found since the last call, if any.
    pub(in crate::client) fn damage(&mut self) -> Option<String> {
        let damaged = std::mem::take(&mut self.damaged);
        (damaged > 0).then(|| {
            format!(
                "the inbox {} was damaged: {damaged} bytes cannot be read; the messages in them are lost",
                self.path().display()
            )
        })
    }

    fn path(&self) -> PathBuf {
        self.dir.path_of(&self.name)
    }

    /// Returns an upper bound of the log space of waiting messages, in bytes.
    fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|m| m.body.len() + 128).sum()
    }

    /// Runs `work` under the exclusive lock, after reading the log to its end.
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

    /// As [`locked`](Self::locked), but returns `None` if the file is not an inbox.
    fn try_locked<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        loop {
            let file = self.file.try_clone()?;
            let held = HeldLock::wait(&file)?;
            if !file::facts(&file)?.named {
                // Another process has rewritten the log into a new file.
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
                // If this fails, the old log remains valid.
                let _ = self.rewrite();
            }
            return Ok(Some(done));
        }
    }

    /// Reads entries appended by other processes. Returns `false` if the file is not an inbox.
    fn catch_up(&mut self) -> io::Result<bool> {
        if self.end == 0 {
            self.unclean = false;
            self.keys.clear();
            self.shown.clear();
            self.waiting.clear();
            let mut head = [0; HEAD];
            let len = file::read_at(&self.file, &mut head, 0)?;
            match entry::decode_head(&head[..len]) {
                Some(mark) => self.mark = mark,
                // A process was interrupted while it created the file.
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
                if self.keys.insert(message.key.clone()) {
                    self.waiting.push(message);
                }
            }
            InboxEntry::Shown(key, at) => {
                self.keys.insert(key.clone());
                self.waiting.retain(|message| message.key != key);
                self.shown.push_back((key, at));
            }
            InboxEntry::ShownId(id) => self.waiting.retain(|message| message.key.id != id),
        }
    }

    /// Appends entries durably, after truncating a torn write of a killed process.
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
            // The write is reported as failed, so no part of it may remain.
            let _ = file::truncate(&self.file, self.end);
            return Err(e);
        }
        self.end += bytes.len() as u64;
        entries.into_iter().for_each(|entry| self.apply(entry));
        Ok(())
    }

    /// Initializes the file as an empty inbox.
    fn begin(&mut self) -> io::Result<()> {
        self.mark = random::array()?;
        file::truncate(&self.file, 0)?;
        file::write_at(&self.file, &entry::encode_head(self.mark), 0)?;
        file::sync(&self.file)?;
        self.dir.sync()
    }

    /// Rewrites the log with the waiting messages and the newest keys of shown ones.
    fn rewrite(&mut self) -> io::Result<()> {
        let recent = unix_millis().saturating_sub(RECENT);
        while self.shown.len() > MOST_KEYS && self.shown.front().is_some_and(|(_, at)| *at < recent)
        {
            if let Some((key, _)) = self.shown.pop_front() {
                self.keys.remove(&key);
            }
        }
        let mark = random::array()?;
        let mut bytes = entry::encode_head(mark);
        for (key, at) in &self.shown {
            entry::encode(&mut bytes, mark, &InboxEntry::Shown(key.clone(), *at));
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

#[cfg(test)]
mod tests;
