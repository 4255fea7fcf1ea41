//! The outbox: a directory of messages that wait until their server can take them.
//!
//! Each message is a file, which is synced, then renamed into place, and removed once the server has the message on
//! disk. Any client of the user may add messages; only one process at a time sends them. A message keeps its id. If
//! the sending process is killed after the server stored the message, it is sent again and stored once.

mod delivery;
mod entry;
mod flush;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub(super) use self::delivery::{Deferred, Event, send_all};
pub(super) use self::entry::Queued;
pub(super) use self::flush::{describe, flush, flush_before_sending};
use super::state_dir::{self, StateError};
use crate::sys::dir::Dir;
use crate::sys::file;
use crate::sys::lock::Locked;

const WHAT: &str = "outbox";
/// The lock file that is held while a message is added.
const LOCK: &str = ".lock";
/// The lock file that is held while messages are sent.
const SENDING: &str = ".sending";

/// How long to wait for the process that sends the outbox.
const LONGEST_TURN: Duration = Duration::from_secs(10);

/// Why the outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutboxError {
    /// The directory cannot be used.
    #[error(transparent)]
    Place(#[from] StateError),
    /// A file cannot be read, written or removed.
    #[error("cannot use {0} in the outbox: {1}")]
    File(PathBuf, io::Error),
}

/// The outbox of this Unix account.
#[derive(Debug)]
pub(super) struct Outbox {
    dir: Dir,
}

/// A file of the outbox.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: String,
    /// The message; `None` if the file is damaged.
    pub(super) message: Option<Queued>,
}

impl Outbox {
    /// Opens the outbox, and creates it if needed.
    ///
    /// # Errors
    /// The directory cannot be created, or belongs to another user.
    pub(super) fn open() -> Result<Self, OutboxError> {
        let dir = state_dir::directory(WHAT)?;
        Ok(Self { dir })
    }

    /// Opens the outbox if it exists.
    ///
    /// # Errors
    /// The directory cannot be opened, or belongs to another user.
    pub(super) fn existing() -> Result<Option<Self>, OutboxError> {
        Ok(state_dir::existing(WHAT)?.map(|dir| Self { dir }))
    }

    /// Adds or replaces a message durably.
    ///
    /// # Errors
    /// The message is not in the outbox.
    pub(super) fn put(&self, message: &Queued) -> Result<(), OutboxError> {
        let name = message.file_name();
        let wrap = |e| OutboxError::File(self.dir.path_of(&name), e);
        let _lock = self.lock().map_err(wrap)?;
        let new = format!(".new-{name}");
        let written = self.write(&new, &entry::encode(message));
        if written.is_err() {
            // Free the space of the partial file: the disk may be full.
            let _ = self.dir.remove(&new);
        }
        written
            .and_then(|()| self.dir.rename(&new, &name))
            .and_then(|()| self.dir.sync())
            .map_err(wrap)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.dir.file_or_new(name)?;
        file::truncate(&new, 0)?;
        file::write_at(&new, bytes, 0)?;
        file::sync(&new)
    }

    fn lock(&self) -> io::Result<Locked> {
        Locked::wait(self.dir.file_or_new(LOCK)?)
    }

    /// Removes a message durably. If another process has removed it, this succeeds.
    ///
    /// # Errors
    /// The message may still be in the outbox.
    pub(super) fn remove(&self, name: &str) -> Result<(), OutboxError> {
        match self.dir.remove(name).and_then(|()| self.dir.sync()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(OutboxError::File(self.dir.path_of(name), e))
            }
            _ => Ok(()),
        }
    }

    /// Discards a message. First waits, at most [`LONGEST_TURN`], for the process that sends the outbox.
    ///
    /// # Errors
    /// As for [`remove`](Self::remove).
    pub(super) fn drop_message(&self, name: &str) -> Result<(), OutboxError> {
        let _turn = self.wait_for_turn()?;
        self.remove(name)
    }

    /// Returns the file names of the messages, oldest first.
    fn names(&self) -> Result<Vec<String>, OutboxError> {
        let names = self.dir.names();
        let names = names.map_err(|e| OutboxError::File(self.dir.path().to_owned(), e))?;
        let mut names: Vec<_> = names
            .into_iter()
            .filter_map(|name| String::from_utf8(name).ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Reads all messages, oldest first.
    ///
    /// # Errors
    /// The directory or a file cannot be read.
    pub(super) fn items(&self) -> Result<Vec<Item>, OutboxError> {
        let mut items = Vec::new();
        for name in self.names()? {
            // Another process may have sent and removed it since.
            if let Some(message) = self.read(&name)? {
                items.push(Item { name, message });
            }
        }
        Ok(items)
    }

    /// Reads a file. The outer `None` means that it does not exist, the inner one that it is damaged.
    fn read(&self, name: &str) -> Result<Option<Option<Queued>>, OutboxError> {
        let wrap = |e| OutboxError::File(self.dir.path_of(name), e);
        let Some(file) = self.dir.file(name).map_err(wrap)? else {
            return Ok(None);
        };
        let len = file::facts(&file).map_err(wrap)?.len;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let n = file::read_at(&file, &mut bytes, 0).map_err(wrap)?;
        Ok(Some(entry::decode(&bytes[..n])))
    }

    /// Takes the lock for sending; `None` if another process holds it.
    fn turn(&self) -> Result<Option<Locked>, OutboxError> {
        let file = self.dir.file_or_new(SENDING);
        let turn = file.and_then(|file| Ok(Locked::attempt(file)?.ok()));
        turn.map_err(|e| OutboxError::File(self.dir.path_of(SENDING), e))
    }

    /// As [`turn`](Self::turn), but waits for at most [`LONGEST_TURN`].
    fn wait_for_turn(&self) -> Result<Option<Locked>, OutboxError> {
        let wait = || Locked::within(self.dir.file_or_new(SENDING)?, LONGEST_TURN);
        let turn = wait().map_err(|e| OutboxError::File(self.dir.path_of(SENDING), e))?;
        Ok(turn.ok())
    }

    /// Removes partial files of killed processes. The lock excludes processes that are writing one. Best effort.
    fn sweep(&self) {
        let Ok(_lock) = self.lock() else { return };
        for name in self.dir.names().unwrap_or_default() {
            if let Ok(name) = String::from_utf8(name)
                && name.starts_with(".new-")
            {
                let _ = self.dir.remove(&name);
            }
        }
    }
}
