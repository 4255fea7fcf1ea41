//! Where the spool and the run directory are, and how long messages are kept: by the flags, then by the daemon's
//! configuration, then by default.

use std::path::{Path, PathBuf};

use super::cli::Cli;
use super::failure::Failure;
use crate::config::{ConfigFile, DefaultPaths, FileError, Kind as _, Limits};

/// The keys that `droplinectl` reads. Mistakes in others are the daemon's business.
const KEYS: [&str; 4] = ["spool", "run_dir", "history_days", "history_bytes"];

impl Cli {
    /// The configuration that is named, or that of a daemon that this user runs.
    fn config_file(&self) -> Result<ConfigFile, Failure> {
        let read = |path: &Path| {
            ConfigFile::read_keys(path, &KEYS).map_err(|e| match e {
                FileError::Wrong { path, what, .. } => Failure::WrongConfiguration(path, what),
                unreadable => Failure::Configuration(unreadable),
            })
        };
        let usual = || Some(DefaultPaths::of_this_user()?.config).filter(|path| path.exists());
        match &self.config {
            Some(path) => read(path),
            None => usual().map_or_else(|| Ok(ConfigFile::default()), |path| read(&path)),
        }
    }

    /// The directory of the messages.
    ///
    /// # Errors
    /// When it is not named, and the configuration cannot be read.
    pub(super) fn spool(&self) -> Result<PathBuf, Failure> {
        match &self.spool {
            Some(named) => Ok(named.clone()),
            None => Ok(spool_of(&self.config_file()?)),
        }
    }

    /// The limits of that spool. A configuration that is not named does not apply to a spool that is not its own.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub(super) fn limits(&self) -> Result<Limits, Failure> {
        let file = self.config_file()?;
        let is_other = |named: &PathBuf| *named != spool_of(&file);
        if self.config.is_none() && self.spool.as_ref().is_some_and(is_other) {
            return Ok(Limits::default());
        }
        Ok(file.settings().limits())
    }

    /// The daemon's run directory. A daemon can be looked at while its configuration has a mistake.
    pub(super) fn run_dir(&self) -> PathBuf {
        let said = || Some(self.config_file().ok()?.run_dir?.as_ref().value());
        let named = self.run_dir.clone().or_else(said);
        named.unwrap_or_else(|| usual_paths().run_dir)
    }
}

fn spool_of(file: &ConfigFile) -> PathBuf {
    let said = file.spool.as_ref().map(|path| path.as_ref().value());
    said.unwrap_or_else(|| usual_paths().spool)
}

/// The paths of a daemon that this user runs; for a user without a home, those of the system's daemon.
fn usual_paths() -> DefaultPaths {
    DefaultPaths::of_this_user().unwrap_or_else(DefaultPaths::of_the_system)
}
