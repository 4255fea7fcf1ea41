//! Configuration shared by the three programs: the keys of droplined.toml with their defaults, and the default paths.
//! Everything is generated from the table in [`keys`].
#![forbid(unsafe_code)]

mod check;
mod file;
mod keys;
mod limits;
mod paths;
#[cfg(test)]
mod reference;
mod sockets;
mod table;
mod values;

pub(crate) use self::file::{FileError, PIPE_TIMEOUT};
pub(crate) use self::keys::{Config, ConfigFile, DEFAULTS};
pub(crate) use self::limits::Limits;
pub(crate) use self::paths::{DefaultPaths, SOCKET};
pub(crate) use self::sockets::NamedSocket;
pub(crate) use self::values::{Kind, LogTo, MOST_ADDRESSES, Sandbox, Titles, network};
