//! Determines the spool, the run directory and the retention limits: from the options, the daemon's configuration, or
//! the defaults, in this order.

use std::path::{Path, PathBuf};

use super::cli::Cli;
use super::failure::Failure;
use crate::config::{Config, ConfigFile, DefaultPaths, FileError, Kind as _};

/// The keys that `droplinectl` reads. Mistakes in other keys do not affect it.
const KEYS: [&str; 6] = [
    "spool",
    "run_dir",
    "history_days",
    "history_bytes",
    "reserve_logins",
    "open_logins",
];

impl Cli {
    /// Reads the configuration from the command line, or else that of the current user's daemon, if it exists.
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

    /// Returns the directory of the messages.
    ///
    /// # Errors
    /// When the configuration is needed and cannot be read.
    pub(super) fn spool(&self) -> Result<PathBuf, Failure> {
        match &self.spool {
            Some(named) => Ok(named.clone()),
            None => Ok(spool_of(&self.config_file()?)),
        }
    }

    /// Returns the settings of that spool. The default configuration file applies only to the spool that it names.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub(super) fn settings(&self) -> Result<Config, Failure> {
        let file = self.config_file()?;
        match self.is_of_spool(&file) {
            true => Ok(file.settings()),
            false => Ok(ConfigFile::default().settings()),
        }
    }

    /// Returns whether the configuration is that of the spool.
    fn is_of_spool(&self, file: &ConfigFile) -> bool {
        let is_other = |named: &PathBuf| *named != spool_of(file);
        self.config.is_some() || !self.spool.as_ref().is_some_and(is_other)
    }

    /// Returns the run directory of the daemon that uses the spool; `None` if it is not known, because the options name
    /// another spool than the configuration, and no run directory.
    pub(super) fn run_dir_of_spool(&self) -> Option<PathBuf> {
        let is_of_spool = || self.config_file().is_ok_and(|file| self.is_of_spool(&file));
        (self.run_dir.is_some() || is_of_spool()).then(|| self.run_dir())
    }

    /// Returns the daemon's run directory. Ignores an invalid configuration, so that its daemon can still be inspected.
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

/// Returns the paths of the current user's daemon, or of the system's daemon if the user has no home directory.
fn usual_paths() -> DefaultPaths {
    DefaultPaths::of_this_user().unwrap_or_else(DefaultPaths::of_the_system)
}
