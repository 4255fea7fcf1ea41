//! The configuration files: that of the user, then that of the machine.

use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use serde::Deserialize;
use toml::Spanned;

/// The file of the machine.
const OF_THE_MACHINE: &str = "/etc/dropline/config.toml";

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum SettingsError {
    /// A file that is there cannot be read.
    #[error("cannot read the configuration {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// Something in it is not as it should be; with line and column.
    #[error("the configuration {path}{place}: {what}", path = .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: String,
        /// What is wrong there.
        what: String,
    },
    /// A variable is not as it should be.
    #[error("the environment has {0}={1:?}: {2}")]
    Variable(&'static str, String, String),
}

/// All keys of a file, as text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    pub(super) server: Option<Spanned<String>>,
    pub(super) source: Option<Spanned<String>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) dialect: Option<Spanned<String>>,
    pub(super) colour: Option<Spanned<String>>,
}

/// A file, as it was read.
#[derive(Debug)]
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    text: String,
    pub(super) keys: Keys,
}

impl SettingsFile {
    /// What it means that the value at `span` is wrong.
    pub(super) fn wrong(&self, span: std::ops::Range<usize>, what: String) -> SettingsError {
        SettingsError::Wrong {
            path: self.path.clone(),
            place: place(&self.text, span.start),
            what,
        }
    }
}

/// The files that are there, the most important one first.
///
/// # Errors
/// When one of them cannot be read, or has an unknown key.
pub(super) fn read_all() -> Result<Vec<SettingsFile>, SettingsError> {
    let own = etcetera::choose_base_strategy()
        .ok()
        .map(|base| base.config_dir().join("dropline/config.toml"));
    let paths = own.into_iter().chain([PathBuf::from(OF_THE_MACHINE)]);
    paths.filter_map(|path| read(&path).transpose()).collect()
}

fn read(path: &Path) -> Result<Option<SettingsFile>, SettingsError> {
    let path = path.to_owned();
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(path, text).map(Some),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound) => Ok(None),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(SettingsError::Unreadable(path, e)),
    }
}

fn parse(path: PathBuf, text: String) -> Result<SettingsFile, SettingsError> {
    match toml::from_str(&text) {
        Ok(keys) => Ok(SettingsFile { path, text, keys }),
        Err(e) => Err(SettingsError::Wrong {
            path,
            place: e
                .span()
                .map_or(String::new(), |span| place(&text, span.start)),
            what: e.message().replace('\n', " "),
        }),
    }
}

fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let begun = before.rsplit('\n').next().unwrap_or_default();
    format!(" at line {line}, column {}", begun.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let parse = |text: &str| parse("c.toml".into(), text.into());
        assert!(parse("server = 'a'\ncolour = \"never\"\n").is_ok());
        let error = parse("server = 'a'\n  sever = 'b'\n").expect_err("unknown");
        let error = error.to_string();
        assert!(
            error
                .starts_with("the configuration c.toml at line 2, column 3: unknown field `sever`"),
            "{error}"
        );
        let error = parse("server = 1").expect_err("a number").to_string();
        assert!(error.contains("line 1, column 10"), "{error}");
    }
}
