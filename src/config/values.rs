//! The kinds of configuration values: their syntax, their ranges and their Rust types.

use std::fmt::Debug;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::name::Name;

/// Limits the number of addresses to listen on.
pub(crate) const MOST_ADDRESSES: usize = 32;

/// A kind of value. Its [`Deserialize`] rejects values that the configuration file must not contain.
pub(crate) trait Kind {
    /// The range of a number, or of the number of elements in a list.
    #[cfg(test)]
    const RANGE: Option<(u64, u64)> = None;

    /// An entry of a list of tables, for the manual; `None` for any other kind.
    #[cfg(test)]
    const EXAMPLE: Option<&'static str> = None;

    /// The type of a default in the table of keys.
    type Literal: Copy + Debug;
    /// The type that the programs use.
    type Value;

    /// Converts a default.
    fn of(default: Self::Literal) -> Self::Value;

    /// Returns the value from the file.
    fn value(&self) -> Self::Value;
}

/// An integer from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<T, const MIN: u64, const MAX: u64>(T);

/// A number of bytes, messages or inodes.
pub(crate) type Amount<const MIN: u64, const MAX: u64> = Number<u64, MIN, MAX>;
/// A number of connections, or of bytes in memory.
pub(crate) type Count<const MIN: u64, const MAX: u64> = Number<usize, MIN, MAX>;

impl<'de, T: TryFrom<u64>, const MIN: u64, const MAX: u64> Deserialize<'de>
    for Number<T, MIN, MAX>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        let allowed = u64::try_from(number).ok();
        let allowed = allowed.filter(|n| (MIN..=MAX).contains(n));
        let value = allowed.and_then(|n| T::try_from(n).ok()).map(Self);
        value.ok_or_else(|| {
            D::Error::custom(format!(
                "{number} is out of range: {MIN} to {MAX} are allowed"
            ))
        })
    }
}

impl<T: Copy + Debug, const MIN: u64, const MAX: u64> Kind for Number<T, MIN, MAX> {
    #[cfg(test)]
    const RANGE: Option<(u64, u64)> = Some((MIN, MAX));
    type Literal = T;
    type Value = T;

    fn of(default: T) -> T {
        default
    }

    fn value(&self) -> T {
        self.0
    }
}

/// A time from `MIN` to `MAX` seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Seconds<const MIN: u64, const MAX: u64>(Number<u64, MIN, MAX>);

impl<const MIN: u64, const MAX: u64> Kind for Seconds<MIN, MAX> {
    #[cfg(test)]
    const RANGE: Option<(u64, u64)> = Some((MIN, MAX));
    type Literal = u64;
    type Value = Duration;

    fn of(default: u64) -> Duration {
        Duration::from_secs(default)
    }

    fn value(&self) -> Duration {
        Duration::from_secs(self.0.value())
    }
}

/// A list of 1 to [`MOST_ADDRESSES`] addresses to listen on.
#[derive(Debug)]
pub(crate) struct Addresses(Vec<IpAddr>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let addresses = Vec::deserialize(deserializer)?;
        match addresses.len() {
            1..=MOST_ADDRESSES => Ok(Self(addresses)),
            n => Err(D::Error::custom(format!(
                "{n} addresses: 1 to {MOST_ADDRESSES} are allowed"
            ))),
        }
    }
}

impl Kind for Addresses {
    #[cfg(test)]
    const RANGE: Option<(u64, u64)> = Some((1, MOST_ADDRESSES as u64));
    type Literal = &'static [&'static str];
    type Value = Vec<IpAddr>;

    fn of(default: Self::Literal) -> Vec<IpAddr> {
        let addresses = default.iter().filter_map(|text| text.parse().ok());
        addresses.collect()
    }

    fn value(&self) -> Vec<IpAddr> {
        self.0.clone()
    }
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        network(&text).map(Self).map_err(D::Error::custom)
    }
}

impl Kind for Vec<Network> {
    type Literal = &'static [&'static str];
    type Value = Vec<IpNet>;

    fn of(default: Self::Literal) -> Vec<IpNet> {
        let networks = default.iter().filter_map(|text| network(text).ok());
        networks.collect()
    }

    fn value(&self) -> Vec<IpNet> {
        self.iter().map(|network| network.0).collect()
    }
}

/// Parses `ADDRESS/BITS`, or `ADDRESS` as a network of one address.
///
/// # Errors
/// When `text` is neither.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is neither ADDRESS/BITS nor an address"))
}

impl Kind for bool {
    type Literal = Self;
    type Value = Self;

    fn of(default: Self) -> Self {
        default
    }

    fn value(&self) -> Self {
        *self
    }
}

/// A list of user names.
#[derive(Debug)]
pub(crate) struct Names(Vec<Name>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let name = |text: &String| {
            let invalid = |e| D::Error::custom(format!("{text:?} is not a name: {e}"));
            text.parse().map_err(invalid)
        };
        texts.iter().map(name).collect::<Result<_, _>>().map(Self)
    }
}

impl Kind for Names {
    type Literal = &'static [&'static str];
    type Value = Vec<Name>;

    fn of(default: Self::Literal) -> Vec<Name> {
        let names = default.iter().filter_map(|text| text.parse().ok());
        names.collect()
    }

    fn value(&self) -> Vec<Name> {
        self.0.clone()
    }
}

/// The name of an account, or empty for none.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Account(String);

impl Kind for Account {
    type Literal = &'static str;
    type Value = Option<String>;

    fn of(default: &'static str) -> Option<String> {
        Self(default.to_owned()).value()
    }

    fn value(&self) -> Option<String> {
        Some(self.0.clone()).filter(|name| !name.is_empty())
    }
}

/// The absolute path of a directory or a socket.
#[derive(Debug)]
pub(crate) struct AbsolutePath(PathBuf);

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = String::deserialize(deserializer)?;
        if path.is_empty() || path.contains('\0') {
            return Err(D::Error::custom(
                "a path must not be empty, and must not contain NUL bytes",
            ));
        }
        if !path.starts_with('/') {
            return Err(D::Error::custom(format!(
                "{path:?} is not an absolute path: the daemon can be started in any directory"
            )));
        }
        Ok(Self(path.into()))
    }
}

impl Kind for AbsolutePath {
    type Literal = &'static str;
    type Value = PathBuf;

    fn of(default: &'static str) -> PathBuf {
        default.into()
    }

    fn value(&self) -> PathBuf {
        self.0.clone()
    }
}

/// How much of the sandbox the daemon requires.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sandbox {
    /// As much as the kernel supports.
    Try,
    /// All of it; otherwise the daemon does not start.
    Require,
    /// None.
    Off,
}

/// The destination of the log.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogTo {
    /// Standard error in the foreground, syslog when detached.
    Auto,
    Stderr,
    Syslog,
}

/// What the process titles show.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Titles {
    /// The dialect and the request.
    Requests,
    /// The client and the name that it uses, too.
    Names,
}

macro_rules! choice {
    ($($name:ty),*) => {$(
        impl Kind for $name {
            type Literal = Self;
            type Value = Self;

            fn of(default: Self) -> Self {
                default
            }

            fn value(&self) -> Self {
                *self
            }
        }
    )*};
}

choice!(Sandbox, LogTo, Titles);
