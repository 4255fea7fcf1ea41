//! The configuration files of the user and of the machine.

use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use serde::Deserialize;
use toml::Spanned;

use crate::sys::own_path;

const OF_THE_MACHINE: &str = "/etc/dropline/config.toml";

/// Why a configuration file or an environment variable cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum SettingsError {
    #[error("cannot read the configuration {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file is not valid TOML, or has an unknown key or an invalid value.
    #[error("the configuration {path}{place}: {what}", path = .path.display())]
    Wrong {
        path: PathBuf,
        /// The line and the column, as text.
        place: String,
        what: String,
    },
    /// An environment variable has an invalid value: its name, the value, and the reason.
    #[error("the environment has {0}={1:?}: {2}")]
    Variable(&'static str, String, String),
}

/// The keys of a configuration file, as text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    pub(super) server: Option<Spanned<String>>,
    pub(super) source: Option<Spanned<String>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) dialect: Option<Spanned<String>>,
    pub(super) colour: Option<Spanned<String>>,
}

/// A parsed configuration file.
#[derive(Debug)]
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    text: String,
    pub(super) keys: Keys,
}

impl SettingsFile {
    /// Returns the error for an invalid value at `span`.
    pub(super) fn wrong(&self, span: std::ops::Range<usize>, what: String) -> SettingsError {
        SettingsError::Wrong {
            path: self.path.clone(),
            place: place(&self.text, span.start),
            what,
        }
    }
}

/// Reads the configuration files that exist, the user's first: it has precedence.
///
/// # Errors
/// A file cannot be read, is not valid TOML, or has an unknown key. So does one of another user: it could name a server
/// of this user's choice.
pub(super) fn read_all() -> Result<Vec<SettingsFile>, SettingsError> {
    let own = etcetera::choose_base_strategy()
        .ok()
        .map(|base| base.config_dir().join("dropline/config.toml"));
    let paths = own.into_iter().chain([PathBuf::from(OF_THE_MACHINE)]);
    paths.filter_map(|path| read(&path).transpose()).collect()
}

fn read(path: &Path) -> Result<Option<SettingsFile>, SettingsError> {
    let path = path.to_owned();
    match own_path::file(&path).and_then(io::read_to_string) {
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
    fn errors_name_the_line_and_the_column() {
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
