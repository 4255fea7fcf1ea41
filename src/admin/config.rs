//! What the daemon's configuration says of things that the tool needs to know as well.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::store::Limits;
use crate::sys::file;

const DAY: u64 = 24 * 3_600_000;

/// These keys of the file. All others are the daemon's business, as is a file with mistakes in them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Config {
    pub(super) spool: Option<PathBuf>,
    pub(super) run_dir: Option<PathBuf>,
    history_days: Option<u64>,
    history_bytes: Option<u64>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// What it says cannot be.
    #[error(
        "the configuration {0} is wrong ({1}): `droplined --check --config {0}` says where; nothing was done (--spool names the spool without it)"
    )]
    Wrong(PathBuf, String),
}

impl Config {
    /// The file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or says something that cannot be.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = file::read_small(path, 1 << 20, Duration::from_secs(10))
            .map_err(|e| ConfigError::Unreadable(path.to_owned(), e))?;
        Self::parse(&text).map_err(|what| ConfigError::Wrong(path.to_owned(), what))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| e.message().replace('\n', " "))?;
        let days = config.history_days.unwrap_or(0);
        if days.checked_mul(DAY).is_none() {
            return Err(format!("{days} days are too many"));
        }
        Ok(config)
    }

    /// How long, and how much, is kept of what was read.
    pub(super) fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            history_millis: self
                .history_days
                .map_or(default.history_millis, |days| days.saturating_mul(DAY)),
            history_bytes: self.history_bytes.unwrap_or(default.history_bytes),
            ..default
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_the_file_says() {
        let limits = |text| Config::parse(text).expect("valid").limits();
        let default = format!("{:?}", Limits::default());
        assert_eq!(format!("{:?}", limits("port = 1")), default);
        let shipped = include_str!("../../etc/droplined.toml");
        assert_eq!(format!("{:?}", limits(shipped)), default);
        let limits = limits("history_days = 2\nhistory_bytes = 3");
        assert_eq!((limits.history_millis, limits.history_bytes), (2 * DAY, 3));
        for wrong in [
            "history_days = -1",
            "history_days = 9000000000000",
            "spool =",
        ] {
            assert!(Config::parse(wrong).is_err(), "{wrong}");
        }
    }
}
