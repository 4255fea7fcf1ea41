//! What the daemon is told: defaults, then the configuration file, then flags.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::cli::Cli;
use crate::message::{DEFAULT_MAX_BODY, LARGEST_MAX_BODY};
use crate::store::spool::Limits;

/// Everything that can be set, as it is in force.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// TCP port; 0 lets the kernel choose.
    pub(super) port: u16,
    /// Addresses to listen on.
    pub(super) bind: Vec<IpAddr>,
    /// Networks whose clients need not prove who they are.
    pub(super) open_networks: Vec<IpNet>,
    /// Directory of the messages.
    pub(super) spool: PathBuf,
    /// Directory of what may vanish at a reboot.
    pub(super) run_dir: PathBuf,
    /// The longest body, in bytes.
    pub(super) max_body: usize,
    /// What a mailbox may hold, what is kept of it, and how full the disk may get.
    pub(super) limits: Limits,
    /// How many connections are served at once.
    pub(super) max_children: usize,
    /// How long a client may take to say the first byte.
    pub(super) first_byte_timeout: Duration,
    /// How long a client may take for a whole request.
    pub(super) request_timeout: Duration,
    /// How long a reader may take to close the connection after its messages were written.
    pub(super) delivery_timeout: Duration,
    /// How long running requests have when the daemon ends.
    pub(super) drain_timeout: Duration,
}

/// How many addresses the daemon listens on at most.
const MOST_ADDRESSES: usize = 32;

/// A whole number within bounds; the configuration file is refused where one is not.
#[derive(Clone, Copy, Debug)]
struct Within<const LEAST: u64, const MOST: u64>(u64);

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

/// The configuration file: every key, with its range. `etc/droplined.toml` has the defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    port: Option<Within<0, 65_535>>,
    bind: Option<Vec<IpAddr>>,
    open_networks: Option<Vec<IpNet>>,
    spool: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    max_body: Option<Within<1, { LARGEST_MAX_BODY as u64 }>>,
    quota_messages: Option<Within<1, { i64::MAX as u64 }>>,
    quota_bytes: Option<Within<4_096, { i64::MAX as u64 }>>,
    history_days: Option<Within<0, 36_500>>,
    history_bytes: Option<Within<0, { i64::MAX as u64 }>>,
    min_free_bytes: Option<Within<0, { i64::MAX as u64 }>>,
    min_free_inodes: Option<Within<0, { i64::MAX as u64 }>>,
    max_children: Option<Within<1, 30_000>>,
    first_byte_timeout: Option<Within<1, 3_600>>,
    request_timeout: Option<Within<1, 3_600>>,
    delivery_timeout: Option<Within<1, 3_600>>,
    drain_timeout: Option<Within<0, 3_600>>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("the configuration {path} is wrong: {source}")]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What and where.
        source: Box<toml::de::Error>,
    },
    /// The master waits for all listeners at once.
    #[error("there are {0} addresses to bind to; at most {MOST_ADDRESSES} are allowed")]
    TooManyAddresses(usize),
    /// No flag, no file and no environment says where messages are kept.
    #[error("cannot tell where to keep messages: $HOME is not set; use --spool and --run-dir")]
    NoHome,
}

impl Config {
    /// The configuration that these flags, and the file they name or the usual one, make.
    ///
    /// # Errors
    /// What is wrong with the file, with line and column.
    pub(super) fn load(cli: &Cli) -> Result<Self, ConfigError> {
        let place = Place::of_this_user();
        let file = match (&cli.config, &place) {
            (Some(path), _) => File::read(path)?,
            (None, Some(place)) if place.config.exists() => File::read(&place.config)?,
            (None, _) => File::default(),
        };
        Self::merge(cli, file, place)
    }

    fn merge(cli: &Cli, file: File, place: Option<Place>) -> Result<Self, ConfigError> {
        let (spool, run_dir) = place.map(|p| (p.spool, p.run_dir)).unzip();
        let limits = file.limits();
        let seconds = |n: u64| Duration::from_secs(n);
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let port = file.port.and_then(|n| u16::try_from(n.0).ok());
        let bind = match (cli.bind.as_slice(), file.bind) {
            ([], Some(of_file)) if !of_file.is_empty() => of_file,
            ([], _) => vec![Ipv6Addr::UNSPECIFIED.into()],
            (of_flags, _) => of_flags.to_vec(),
        };
        if bind.len() > MOST_ADDRESSES {
            return Err(ConfigError::TooManyAddresses(bind.len()));
        }
        let mut open_networks = file.open_networks.unwrap_or_else(loopback);
        open_networks.extend(&cli.open_network);
        Ok(Self {
            port: cli.port().or(port).unwrap_or(8282),
            bind,
            open_networks,
            spool: cli
                .spool
                .clone()
                .or(file.spool)
                .or(spool)
                .ok_or(ConfigError::NoHome)?,
            run_dir: cli
                .run_dir
                .clone()
                .or(file.run_dir)
                .or(run_dir)
                .ok_or(ConfigError::NoHome)?,
            max_body: file.max_body.map_or(DEFAULT_MAX_BODY, |n| size(n.0)),
            limits,
            max_children: file.max_children.map_or(512, |n| size(n.0)),
            first_byte_timeout: seconds(file.first_byte_timeout.map_or(10, |n| n.0)),
            request_timeout: seconds(file.request_timeout.map_or(30, |n| n.0)),
            delivery_timeout: seconds(file.delivery_timeout.map_or(10, |n| n.0)),
            drain_timeout: seconds(file.drain_timeout.map_or(5, |n| n.0)),
        })
    }
}

impl File {
    fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            quota_messages: self.quota_messages.map_or(default.quota_messages, |n| n.0),
            quota_bytes: self.quota_bytes.map_or(default.quota_bytes, |n| n.0),
            history_millis: self
                .history_days
                .map_or(default.history_millis, |n| n.0 * 24 * 3_600_000),
            history_bytes: self.history_bytes.map_or(default.history_bytes, |n| n.0),
            min_free_bytes: self.min_free_bytes.map_or(default.min_free_bytes, |n| n.0),
            min_free_inodes: self
                .min_free_inodes
                .map_or(default.min_free_inodes, |n| n.0),
        }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|e| ConfigError::Wrong {
                path,
                source: Box::new(e),
            }),
            Err(source) => Err(ConfigError::Unreadable { path, source }),
        }
    }
}

fn loopback() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"]
        .iter()
        .filter_map(|net| net.parse().ok())
        .collect()
}

/// Where things are for the user that runs the daemon.
#[derive(Debug)]
struct Place {
    config: PathBuf,
    spool: PathBuf,
    run_dir: PathBuf,
}

impl Place {
    /// Those of the system for root, those of the XDG base directories for others; `None` for somebody
    /// without a home.
    fn of_this_user() -> Option<Self> {
        if nix::unistd::geteuid().is_root() {
            return Some(Self {
                config: "/etc/dropline/droplined.toml".into(),
                spool: "/var/spool/dropline".into(),
                run_dir: "/run/dropline".into(),
            });
        }
        let set = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
        };
        let home = set("HOME");
        let under_home = |name, rest| set(name).or_else(|| Some(home.as_ref()?.join(rest)));
        let state = under_home("XDG_STATE_HOME", ".local/state")?.join("dropline");
        Some(Self {
            config: under_home("XDG_CONFIG_HOME", ".config")?.join("dropline/droplined.toml"),
            spool: state.join("spool"),
            run_dir: set("XDG_RUNTIME_DIR").map_or(state.join("run"), |dir| dir.join("dropline")),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn load(text: &str, flags: &[&str]) -> Result<Config, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        let cli = Cli::try_parse_from([&["droplined"], flags].concat()).expect("flags");
        let place = Place {
            config: "/c".into(),
            spool: "/s".into(),
            run_dir: "/r".into(),
        };
        Config::merge(&cli, file, Some(place)).map_err(|e| e.to_string())
    }

    #[test]
    fn the_shipped_file_has_every_key_and_the_defaults() {
        let shipped = include_str!("../../etc/droplined.toml");
        let from_file = load(shipped, &[]).expect("valid");
        let mut defaults = load("", &[]).expect("valid");
        // The shipped file is for the system's daemon.
        (defaults.spool, defaults.run_dir) = ("/var/spool/dropline".into(), "/run/dropline".into());
        assert_eq!(format!("{from_file:?}"), format!("{defaults:?}"));
        let wrong: toml::de::Error = toml::from_str::<File>("x = 1").expect_err("unknown");
        let message = wrong.to_string();
        let keys = message.split('`').skip(3).step_by(2);
        for key in keys {
            assert!(
                shipped.contains(&format!("\n{key} = ")),
                "{key} is not in the shipped file"
            );
        }
    }

    #[test]
    fn wrong_files_are_refused_with_the_place() {
        let error = load("port = 1\nprot = 2\n", &[]).expect_err("refused");
        assert!(
            error.contains("line 2, column 1") && error.contains("prot"),
            "{error}"
        );
        let error = load("max_body = 2000000", &[]).expect_err("refused");
        assert!(error.contains("1 to 1048576"), "{error}");
        assert!(load("open_networks = [\"10.0.0.0/33\"]", &[]).is_err());
        assert!(load("port = -1", &[]).is_err());
    }

    #[test]
    fn flags_win() {
        let file = "port = 1\nbind = [\"::1\"]\nopen_networks = [\"10.0.0.0/8\"]";
        let flags = [
            "-p",
            "2",
            "--bind",
            "127.0.0.1",
            "--open-network",
            "10.1.0.0/16",
        ];
        let config = load(file, &flags).expect("valid");
        assert_eq!(config.port, 2);
        assert_eq!(
            config.bind,
            ["127.0.0.1".parse::<IpAddr>().expect("an address")]
        );
        assert_eq!(config.open_networks.len(), 2);
        assert_eq!(load(file, &[]).expect("valid").port, 1);
    }
}
