//! Reads droplined.toml and reports the position of errors in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

use super::check::{self, Mistake};
use super::keys::ConfigFile;
use crate::sys::file;

/// The longest configuration file, in bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// How long a program waits for the writer if the configuration file is a pipe.
pub(crate) const PIPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the configuration {path} is wrong{place}: {what}")]
    Wrong {
        path: PathBuf,
        /// ` at line L, column C`, or empty if unknown.
        place: String,
        what: String,
    },
}

impl FileError {
    fn wrong(path: &Path) -> impl FnOnce(Mistake) -> Self {
        move |mistake| Self::Wrong {
            path: path.to_owned(),
            place: mistake.place,
            what: mistake.what,
        }
    }
}

impl ConfigFile {
    /// Reads the file at `path` and logs its oddities. With `account`, the account in it must exist. The writer of a
    /// pipe has `timeout` to send the file.
    ///
    /// # Errors
    /// When the file cannot be read or is invalid.
    pub(crate) fn read(path: &Path, account: bool, timeout: Duration) -> Result<Self, FileError> {
        let text = text(path, timeout)?;
        let config = Self::parse(&text).map_err(FileError::wrong(path))?;
        if account {
            check::has_account(&text, &config).map_err(FileError::wrong(path))?;
        }
        for Mistake { place, what } in check::oddities(&text, &config) {
            log::warn!("the configuration {} is odd{place}: {what}", path.display());
        }
        Ok(config)
    }

    /// Reads only `keys` from the file at `path`. Unknown keys and mistakes in other keys are ignored.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or has a mistake in one of `keys`.
    pub(crate) fn read_keys(path: &Path, keys: &[&str]) -> Result<Self, FileError> {
        let text = text(path, PIPE_TIMEOUT)?;
        Self::parse_keys(&text, keys).map_err(FileError::wrong(path))
    }

    /// Parses a configuration file.
    ///
    /// # Errors
    /// The first mistake.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        let file = toml::from_str(text).map_err(|e| Mistake::in_toml(text, &e))?;
        check::check(text, &file)?;
        Ok(file)
    }

    fn parse_keys(text: &str, keys: &[&str]) -> Result<Self, Mistake> {
        let wrong = |e| Mistake::in_toml(text, &e);
        let table = DeTable::parse(text).map_err(wrong)?;
        let span = table.span();
        let all = table.into_inner().into_iter();
        let known: DeTable<'_> = all
            .filter(|(key, _)| keys.contains(&key.get_ref().as_ref()))
            .collect();
        Self::deserialize(Deserializer::from(Spanned::new(span, known))).map_err(wrong)
    }
}

fn text(path: &Path, timeout: Duration) -> Result<String, FileError> {
    file::read_small(path, LONGEST, timeout).map_err(|source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::Limits;

    #[test]
    fn mistakes_are_reported_with_their_position() {
        for (text, place, word) in [
            ("port = 1\nprot = 2\n", "line 2, column 1", "prot"),
            ("max_body = 2000000", "line 1, column 12", "1 to 1048576"),
            ("port = -1", "line 1, column 8", "0 to 65535"),
            ("bind = []", "line 1, column 8", "1 to 32"),
            (
                "open_networks = [\"10.0.0.0/33\"]",
                "line 1, column 17",
                "neither",
            ),
            ("spool = \"\"", "line 1, column 9", "empty"),
            ("run_dir = \"/a\\u0000b\"", "line 1, column 11", "NUL"),
            ("spool = \"relative\"", "line 1, column 9", "absolute"),
            ("log = \"stdout\"", "line 1, column 7", "stdout"),
            ("\nport = [", "line 2, column 9", ""),
            (
                "bind = [\"::1\", \"127.0.0.1\", \"::1\"]",
                "line 1, column 8",
                "::1 is named twice",
            ),
            (
                "\nbind = [\"::\", \"10.0.0.1\"]",
                "line 2, column 8",
                "10.0.0.1 among them",
            ),
            (
                "spool = \"/a\"\nrun_dir = \"/a\"",
                "line 2, column 11",
                "one directory",
            ),
            (
                "port = 1\n[[socket]]\npath = \"/a\"\n",
                "line 2, column 1",
                "missing field `name`",
            ),
            (
                "[[socket]]\npath = \"a\"\nname = \"b\"",
                "line 2, column 8",
                "path of a [[socket]]: \"a\" is not an absolute path",
            ),
            (
                "[[socket]]\npath = \"/\"\nname = \"b\"",
                "line 2, column 8",
                "path of a [[socket]]: / names no file",
            ),
            (
                "[[socket]]\npath = \"/a\"\nname = \"b c\"",
                "line 3, column 8",
                "name of a [[socket]]: \"b c\" is not a name",
            ),
            (
                "[[socket]]\npath = \"/a\"\nname = \"b\"\nmode = 0",
                "line 4, column 1",
                "mode",
            ),
            (
                "[[socket]]\npath = \"/a\"\nname = \"b\"\n[[socket]]\npath = \"//a/\"\nname = \"c\"",
                "",
                "path of a [[socket]]: //a/ is in two entries",
            ),
            (
                "open_logins = [\"a\", \"b\"]\n[[socket]]\npath = \"/a\"\nname = \"b\"",
                "line 1, column 15",
                "open_logins has b, but a [[socket]] has this name",
            ),
        ] {
            let Mistake { place: at, what } = ConfigFile::parse(text).expect_err(text);
            assert!(at.ends_with(place), "{text}:{at}");
            assert!(what.contains(word), "{text}: {what}");
        }
        for text in ["bind = [\"::\"]", "bind = [\"0.0.0.0\", \"::1\"]"] {
            ConfigFile::parse(text).expect(text);
        }
        let long = format!("/{}", "x".repeat(107));
        let long = format!("[[socket]]\npath = \"{long}\"\nname = \"b\"");
        let mistake = ConfigFile::parse(&long).expect_err("too long");
        assert!(mistake.what.contains("107 are allowed"), "{}", mistake.what);
        let many: String = (0..17)
            .map(|n| format!("[[socket]]\npath = \"/{n}\"\nname = \"b\"\n"))
            .collect();
        let mistake = ConfigFile::parse(&many).expect_err("too many");
        assert!(mistake.what.contains("at most 16"), "{}", mistake.what);
        let one = "open_networks = [\"10.1.2.3\", \"::/0\"]";
        let one = ConfigFile::parse(one).expect("valid").settings();
        assert_eq!(one.open_networks[0].to_string(), "10.1.2.3/32");
    }

    #[test]
    fn keys_are_read_from_a_file_with_mistakes_in_others() {
        let limits = |text| {
            let file = ConfigFile::parse_keys(text, &["history_days", "history_bytes"]);
            file.map(|file| file.settings().limits())
        };
        let default = Some(Limits::default());
        assert_eq!(limits("port = -1\nprot = 1").ok(), default);
        let set = limits("history_days = 2\nquota_messages = 0\nhistory_bytes = 3");
        let set = set.expect("valid");
        assert_eq!(set.history_millis, 2 * 24 * 3_600_000);
        assert_eq!(set.history_bytes, 3);
        for wrong in [
            "history_days = -1",
            "history_days = 9000000000000",
            "spool =",
        ] {
            assert!(limits(wrong).is_err(), "{wrong}");
        }
    }
}
