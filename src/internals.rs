//! The store, for its benchmark. Not part of any program; built with the feature `internals` only.
#![forbid(unsafe_code)]

use std::path::Path;

use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;
use crate::store::{self, Delivery, Engine, Limits, StoreConfig, StoreError};
use crate::sys::clock::unix_millis;

/// A store, opened by one of the processes that use it.
#[expect(missing_debug_implementations, reason = "an engine is opaque")]
pub struct Store(Box<dyn Engine>);

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl Store {
    /// Creates a spool at `path`.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn make(path: &Path) -> Result<(), Failure> {
        store::open(&settings(path))?;
        Ok(())
    }

    /// Opens the spool at `path`, which other processes may have open.
    ///
    /// # Errors
    /// When there is no spool.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self(store::look_at(&settings(path))?.0))
    }

    /// Durably appends `count` messages with this body to a mailbox as one batch.
    ///
    /// # Errors
    /// When a message was not accepted.
    pub fn append(&self, to: &str, body: &[u8], count: usize) -> Result<(), Failure> {
        let name = |text: &str| Name::new(text.as_bytes()).map_err(|e| Failure(e.to_string()));
        let (to, from) = (name(to)?, name("bench")?);
        let mut batch = Vec::with_capacity(count);
        for number in 0..count {
            // Random ids would distort the result: drawing them is not part of the store.
            let id = MessageId((number as u128).to_le_bytes());
            let draft = Draft {
                id,
                from: &from,
                trust: Trust::Open,
                at: unix_millis(),
                expires: None,
                once: false,
                body,
                fields: Fields::default(),
            };
            batch.push(Delivery { to: &to, draft });
        }
        self.0
            .deliver(&batch)
            .into_iter()
            .try_for_each(|outcome| Ok(outcome.map(drop)?))
    }

    /// Reads the waiting messages of a mailbox without acknowledging them, and returns their total size in bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, of: &str) -> Result<usize, Failure> {
        let name = Name::new(of.as_bytes()).map_err(|e| Failure(e.to_string()))?;
        let mut total = 0;
        if let Some(mut waiting) = self.0.fetch(&name)? {
            while let Some(message) = waiting.next()? {
                total += message.body.len();
            }
        }
        Ok(total)
    }
}

fn settings(path: &Path) -> StoreConfig<'_> {
    StoreConfig {
        spool: path,
        run_dir: None,
        limits: Limits::default(),
        reserves: &|_| true,
    }
}
