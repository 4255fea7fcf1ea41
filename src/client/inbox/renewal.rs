//! How a log begins, and how it is written anew when it has become long, or was damaged.

use std::io;

use super::Inbox;
use super::entry::{self, Entry, Mark};
use crate::sys::file;
use crate::sys::random;

/// How many ids of messages that were shown a new log keeps.
const MOST_IDS: usize = 20_000;

impl Inbox {
    /// Makes the file an empty inbox.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.mark = new_mark()?;
        file::truncate(&self.file, 0)?;
        file::write_at(&self.file, &entry::encode_head(self.mark), 0)?;
        file::sync(&self.file)?;
        self.dir.sync()
    }

    /// Writes the log anew, with what is still of use: what waits, and the newest ids.
    pub(super) fn rewrite(&mut self) -> io::Result<()> {
        while self.shown.len() > MOST_IDS {
            if let Some(id) = self.shown.pop_front() {
                self.ids.remove(&id);
            }
        }
        let mark = new_mark()?;
        let mut bytes = entry::encode_head(mark);
        for &id in &self.shown {
            entry::encode(&mut bytes, mark, &Entry::Shown(id));
        }
        for message in &self.waiting {
            entry::encode(&mut bytes, mark, &Entry::Received(message.clone()));
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

fn new_mark() -> io::Result<Mark> {
    let mut mark = Mark::default();
    random::fill(&mut mark)?;
    Ok(mark)
}
