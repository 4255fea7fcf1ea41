//! The outbox: messages that the server could not take are on this disk until it can.
//!
//! Each message is a file, which appears under its name only when all of it is on the disk, and goes when the
//! server has the message on its own. Every client of this user puts messages in; one at a time sends them. A
//! message keeps its id: if its sender was killed after the server had it, it is sent once more and stored
//! once.

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
/// Locked by whoever puts something in.
const LOCK: &str = ".lock";
/// Locked by whoever sends.
const SENDING: &str = ".sending";

/// How long one waits for whoever sends, to drop a message or to send another one after it.
const LONGEST_TURN: Duration = Duration::from_secs(10);

/// What went wrong with the outbox.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutboxError {
    /// There is no place for it.
    #[error(transparent)]
    Place(#[from] StateError),
    /// A file in it cannot be read, written or removed.
    #[error("cannot use {0} in the outbox: {1}")]
    File(PathBuf, io::Error),
}

/// The outbox of this user.
#[derive(Debug)]
pub(super) struct Outbox {
    dir: Dir,
}

/// A file of the outbox.
#[derive(Debug)]
pub(super) struct Item {
    /// Its name.
    pub(super) name: String,
    /// What is in it; `None` when it is damaged.
    pub(super) message: Option<Queued>,
}

impl Outbox {
    /// The outbox, made if there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open() -> Result<Self, OutboxError> {
        let dir = state_dir::directory(WHAT)?;
        Ok(Self { dir })
    }

    /// The outbox, if there is one.
    ///
    /// # Errors
    /// When it cannot be opened, or is somebody else's.
    pub(super) fn existing() -> Result<Option<Self>, OutboxError> {
        Ok(state_dir::existing(WHAT)?.map(|dir| Self { dir }))
    }

    /// Puts a message in, or in the place of itself. When this returns, it is on the disk.
    ///
    /// # Errors
    /// It is not in the outbox.
    pub(super) fn put(&self, message: &Queued) -> Result<(), OutboxError> {
        let name = message.file_name();
        let wrap = |e| OutboxError::File(self.dir.path_of(&name), e);
        let _lock = self.lock().map_err(wrap)?;
        let new = format!(".new-{name}");
        let written = self.write(&new, &entry::encode(message));
        if written.is_err() {
            // What is there of it is of no use, and a full disk needs the room.
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

    /// Takes a message out. When this returns, it does not come back.
    ///
    /// # Errors
    /// It may still be there; that somebody else has taken it out is none.
    pub(super) fn remove(&self, name: &str) -> Result<(), OutboxError> {
        match self.dir.remove(name).and_then(|()| self.dir.sync()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(OutboxError::File(self.dir.path_of(name), e))
            }
            _ => Ok(()),
        }
    }

    /// Takes a message out that is not to be sent any more. Waits some seconds for whoever sends just now.
    ///
    /// # Errors
    /// As for [`remove`](Self::remove).
    pub(super) fn drop_message(&self, name: &str) -> Result<(), OutboxError> {
        let _turn = self.wait_for_turn()?;
        self.remove(name)
    }

    /// The names of its messages, oldest first.
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

    /// What is in it, oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn items(&self) -> Result<Vec<Item>, OutboxError> {
        let mut items = Vec::new();
        for name in self.names()? {
            // Somebody may have sent it just now.
            if let Some(message) = self.read(&name)? {
                items.push(Item { name, message });
            }
        }
        Ok(items)
    }

    /// What is in a file; `None` when there is none.
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

    /// Takes the right to send, which one process has at a time; `None` when another one has it.
    fn turn(&self) -> Result<Option<Locked>, OutboxError> {
        let file = self.dir.file_or_new(SENDING);
        let turn = file.and_then(|file| Ok(Locked::attempt(file)?.ok()));
        turn.map_err(|e| OutboxError::File(self.dir.path_of(SENDING), e))
    }

    /// As [`turn`](Self::turn), but waits some seconds for it.
    fn wait_for_turn(&self) -> Result<Option<Locked>, OutboxError> {
        let wait = || Locked::within(self.dir.file_or_new(SENDING)?, LONGEST_TURN);
        let turn = wait().map_err(|e| OutboxError::File(self.dir.path_of(SENDING), e))?;
        Ok(turn.ok())
    }

    /// Removes what somebody who was killed has begun to put in.
    fn sweep(&self) {
        let Ok(_lock) = self.lock() else { return };
        for name in self.dir.names().unwrap_or_default() {
            if let Ok(name) = String::from_utf8(name)
                && name.starts_with(".new-")
            {
                // It stays, and takes room.
                let _ = self.dir.remove(&name);
            }
        }
    }
}
