//! The configuration file: its keys, what each may be, and where in it something is wrong.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::{ConfigError, LogTo, Sandbox, sense};
use crate::message::LARGEST_MAX_BODY;
use crate::sys::file;

/// How many addresses the daemon listens on at most.
pub(super) const MOST_ADDRESSES: usize = 32;

/// How long the configuration file may be, in bytes.
const LONGEST: usize = 1 << 20;

/// A whole number within bounds; the configuration file is refused where one is not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Within<const LEAST: u64, const MOST: u64>(pub(super) u64);

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Within<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match u64::try_from(number) {
            Ok(n) if (LEAST..=MOST).contains(&n) => Ok(Self(n)),
            _ => Err(serde::de::Error::custom(format!(
                "{number} is out of range: {LEAST} to {MOST} are allowed"
            ))),
        }
    }
}

/// One to [`MOST_ADDRESSES`] addresses to listen on.
#[derive(Debug)]
pub(super) struct Addresses(pub(super) Vec<IpAddr>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let addresses = Vec::deserialize(deserializer)?;
        if (1..=MOST_ADDRESSES).contains(&addresses.len()) {
            return Ok(Self(addresses));
        }
        let n = addresses.len();
        Err(serde::de::Error::custom(format!(
            "{n} addresses: 1 to {MOST_ADDRESSES} are allowed"
        )))
    }
}

/// The path of a directory.
#[derive(Debug)]
pub(super) struct Directory(pub(super) PathBuf);

impl<'de> Deserialize<'de> for Directory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = String::deserialize(deserializer)?;
        if path.is_empty() || path.contains('\0') {
            return Err(serde::de::Error::custom(
                "a directory has a path, without NUL bytes in it",
            ));
        }
        if !path.starts_with('/') {
            return Err(serde::de::Error::custom(format!(
                "{path:?} is not an absolute path: nobody knows in which directory the daemon is started"
            )));
        }
        Ok(Self(path.into()))
    }
}

/// A network, or one address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network(pub(super) IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        network(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The network that `ADDRESS/BITS`, or the one address that `ADDRESS`, says.
///
/// # Errors
/// When it is neither.
pub(in crate::server) fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is neither ADDRESS/BITS nor an address"))
}

/// The configuration file: every key, with its range. `etc/droplined.toml` has the defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) port: Option<Within<0, 65_535>>,
    pub(super) bind: Option<Spanned<Addresses>>,
    pub(super) open_networks: Option<Vec<Network>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) sandbox: Option<Sandbox>,
    pub(super) log: Option<LogTo>,
    pub(super) syslog_socket: Option<Directory>,
    pub(super) spool: Option<Spanned<Directory>>,
    pub(super) run_dir: Option<Spanned<Directory>>,
    pub(super) max_body: Option<Spanned<Within<1, { LARGEST_MAX_BODY as u64 }>>>,
    pub(super) quota_messages: Option<Within<1, { i64::MAX as u64 }>>,
    pub(super) quota_bytes: Option<Spanned<Within<4_096, { i64::MAX as u64 }>>>,
    pub(super) history_days: Option<Within<0, 36_500>>,
    pub(super) history_bytes: Option<Within<0, { i64::MAX as u64 }>>,
    pub(super) min_free_bytes: Option<Within<0, { i64::MAX as u64 }>>,
    pub(super) min_free_inodes: Option<Within<0, { i64::MAX as u64 }>>,
    pub(super) max_children: Option<Spanned<Within<1, 30_000>>>,
    pub(super) children_per_source: Option<Spanned<Within<1, 30_000>>>,
    pub(super) early_drop: Option<Spanned<Within<1, 30_000>>>,
    pub(super) penalty_exempt: Option<Vec<Network>>,
    pub(super) child_memory: Option<Within<67_108_864, { i64::MAX as u64 }>>,
    pub(super) first_byte_timeout: Option<Spanned<Within<1, 3_600>>>,
    pub(super) request_timeout: Option<Spanned<Within<1, 3_600>>>,
    pub(super) idle_timeout: Option<Within<1, 86_400>>,
    pub(super) lease: Option<Within<5, 86_400>>,
    pub(super) framed_lease: Option<Within<60, 2_592_000>>,
    pub(super) delivery_timeout: Option<Within<1, 3_600>>,
    pub(super) drain_timeout: Option<Within<0, 3_600>>,
}

/// Something wrong with the file: where, when that is known, and what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) place: String,
    pub(super) what: String,
}

impl Wrong {
    /// Something wrong at this byte of `text`.
    pub(super) fn at(text: &str, byte: Option<usize>, what: String) -> Self {
        let before = byte.and_then(|byte| text.get(..byte));
        let place = before.map(|before| {
            let line = before.matches('\n').count() + 1;
            let last = before.rsplit('\n').next();
            let column = last.map_or(0, |line| line.chars().count()) + 1;
            format!(" at line {line}, column {column}")
        });
        Self {
            place: place.unwrap_or_default(),
            what,
        }
    }
}

impl File {
    /// The file at this path. What is odd about it, and still can be, is logged. With `account`, the one that it
    /// names must exist. Whoever writes to a pipe has so much `patience`.
    ///
    /// # Errors
    /// When it cannot be read, or says something that cannot be.
    pub(super) fn read(
        path: &Path,
        account: bool,
        patience: Duration,
    ) -> Result<Self, ConfigError> {
        let wrong = |wrong: Wrong| ConfigError::Wrong {
            path: path.to_owned(),
            place: wrong.place,
            what: wrong.what,
        };
        let text = file::read_small(path, LONGEST, patience).map_err(|source| {
            ConfigError::Unreadable {
                path: path.to_owned(),
                source,
            }
        })?;
        let config = Self::parse(&text).map_err(wrong)?;
        if account {
            sense::has_account(&text, &config).map_err(wrong)?;
        }
        for Wrong { place, what } in sense::oddities(&text, &config) {
            log::warn!("the configuration {} is odd{place}: {what}", path.display());
        }
        Ok(config)
    }

    /// The file with this text; else where in it something is wrong, and what.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let file = toml::from_str(text).map_err(|e| {
            let byte = e.span().map(|span| span.start);
            Wrong::at(text, byte, e.message().replace('\n', " "))
        })?;
        sense::check(text, &file)?;
        Ok(file)
    }
}
