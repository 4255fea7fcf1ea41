//! The `[[socket]]` entries of the configuration: further Unix sockets, on which every client has one name.

use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::values::{AbsolutePath, Kind};
use crate::name::Name;

/// Limits the number of entries.
pub(crate) const MOST_SOCKETS: usize = 16;
/// The longest path of a Unix socket, in bytes (unix(7)).
const LONGEST_PATH: usize = 107;

/// A Unix socket on which every client has one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedSocket {
    pub(crate) path: PathBuf,
    pub(crate) name: Name,
}

/// A list of at most [`MOST_SOCKETS`] entries. No path occurs twice.
#[derive(Debug)]
pub(crate) struct Sockets(Vec<NamedSocket>);

/// An entry as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: SocketPath,
    name: SocketName,
}

struct SocketPath(PathBuf);

impl<'de> Deserialize<'de> for SocketPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = |what: String| D::Error::custom(format!("path of a [[socket]]: {what}"));
        let path = AbsolutePath::deserialize(deserializer).map_err(|e| wrong(e.to_string()))?;
        let path = path.value();
        let len = path.as_os_str().len();
        if path.file_name().is_none() {
            return Err(wrong(format!("{} names no file", path.display())));
        }
        if len > LONGEST_PATH {
            return Err(wrong(format!(
                "it has {len} bytes; at most {LONGEST_PATH} are allowed"
            )));
        }
        Ok(Self(path))
    }
}

struct SocketName(Name);

impl<'de> Deserialize<'de> for SocketName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = text.parse().map_err(|e| {
            D::Error::custom(format!("name of a [[socket]]: {text:?} is not a name: {e}"))
        });
        name.map(Self)
    }
}

impl<'de> Deserialize<'de> for Sockets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        if entries.len() > MOST_SOCKETS {
            return Err(D::Error::custom(format!(
                "there are {} [[socket]] entries; at most {MOST_SOCKETS} are allowed",
                entries.len()
            )));
        }
        let mut all = Vec::<NamedSocket>::with_capacity(entries.len());
        for Entry { path, name } in entries {
            let (path, name) = (path.0, name.0);
            if all.iter().any(|other| other.path == path) {
                return Err(D::Error::custom(format!(
                    "path of a [[socket]]: {} is in two entries",
                    path.display()
                )));
            }
            all.push(NamedSocket { path, name });
        }
        Ok(Self(all))
    }
}

impl Kind for Sockets {
    #[cfg(test)]
    const EXAMPLE: Option<&'static str> =
        Some("[[socket]]\npath = \"/srv/web/dropline.sock\"\nname = \"web\"");
    /// There are no entries unless the file has some.
    type Literal = &'static [()];
    type Value = Vec<NamedSocket>;

    fn of(_: Self::Literal) -> Vec<NamedSocket> {
        Vec::new()
    }

    fn value(&self) -> Vec<NamedSocket> {
        self.0.clone()
    }
}
