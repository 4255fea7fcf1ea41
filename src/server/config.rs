//! What the daemon is told: defaults, then the configuration file, then flags.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::cli::Cli;
use crate::message::{DEFAULT_MAX_BODY, LARGEST_MAX_BODY};
use crate::places::Places;
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
    /// Whom a daemon that root has started becomes; by default `dropline`, if there is such an account.
    pub(super) user: Option<String>,
    /// Whether the sandbox must be had as a whole, or at all.
    pub(super) sandbox: Sandbox,
    /// Where the log goes.
    pub(super) log: LogTo,
    /// The socket of syslogd.
    pub(super) syslog_socket: PathBuf,
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
    /// How many of them for one source.
    pub(super) children_per_source: usize,
    /// From how many children that have not completed a request on connections are refused by lot.
    pub(super) early_drop: usize,
    /// Networks that are not penalized for what their clients do.
    pub(super) penalty_exempt: Vec<IpNet>,
    /// How much memory a child may map, in bytes.
    pub(super) child_memory: u64,
    /// How long a client may take to say the first byte.
    pub(super) first_byte_timeout: Duration,
    /// How long a client may take for a whole request.
    pub(super) request_timeout: Duration,
    /// How long a session may be silent between two requests.
    pub(super) idle_timeout: Duration,
    /// How long somebody is online without renewing it.
    pub(super) lease: Duration,
    /// The same for clients of the framed dialect, which cannot renew it.
    pub(super) framed_lease: Duration,
    /// How long a reader may take to close the connection after its messages were written.
    pub(super) delivery_timeout: Duration,
    /// How long running requests have when the daemon ends.
    pub(super) drain_timeout: Duration,
}

/// What to do about the sandbox.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sandbox {
    /// As much as the kernel has.
    #[default]
    Try,
    /// All of it, or the daemon does not start.
    Require,
    /// None.
    Off,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogTo {
    /// To standard error in the foreground, to syslog when detached.
    #[default]
    Auto,
    /// To standard error.
    Stderr,
    /// To syslog.
    Syslog,
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

/// One to [`MOST_ADDRESSES`] addresses to listen on.
#[derive(Debug)]
struct Addresses(Vec<IpAddr>);

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
struct Directory(PathBuf);

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
struct Network(IpNet);

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
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is neither ADDRESS/BITS nor an address"))
}

/// The configuration file: every key, with its range. `etc/droplined.toml` has the defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    port: Option<Within<0, 65_535>>,
    bind: Option<Addresses>,
    open_networks: Option<Vec<Network>>,
    user: Option<String>,
    sandbox: Option<Sandbox>,
    log: Option<LogTo>,
    syslog_socket: Option<Directory>,
    spool: Option<Directory>,
    run_dir: Option<Directory>,
    max_body: Option<Within<1, { LARGEST_MAX_BODY as u64 }>>,
    quota_messages: Option<Within<1, { i64::MAX as u64 }>>,
    quota_bytes: Option<Within<4_096, { i64::MAX as u64 }>>,
    history_days: Option<Within<0, 36_500>>,
    history_bytes: Option<Within<0, { i64::MAX as u64 }>>,
    min_free_bytes: Option<Within<0, { i64::MAX as u64 }>>,
    min_free_inodes: Option<Within<0, { i64::MAX as u64 }>>,
    max_children: Option<Within<1, 30_000>>,
    children_per_source: Option<Within<1, 30_000>>,
    early_drop: Option<Within<1, 30_000>>,
    penalty_exempt: Option<Vec<Network>>,
    child_memory: Option<Within<67_108_864, { i64::MAX as u64 }>>,
    first_byte_timeout: Option<Within<1, 3_600>>,
    request_timeout: Option<Within<1, 3_600>>,
    idle_timeout: Option<Within<1, 86_400>>,
    lease: Option<Within<5, 86_400>>,
    framed_lease: Option<Within<60, 2_592_000>>,
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
    #[error("the configuration {path} is wrong{place}: {what}")]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Where in it, when that is known.
        place: String,
        /// What is wrong.
        what: String,
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
        let place = Places::of_this_user();
        let file = match (&cli.config, &place) {
            (Some(path), _) => File::read(path)?,
            (None, Some(place)) if place.config.exists() => File::read(&place.config)?,
            (None, _) => File::default(),
        };
        Self::merge(cli, file, place)
    }

    /// The same with a third of the time for all that clients take time for.
    pub(super) fn in_a_hurry(self) -> Self {
        Self {
            first_byte_timeout: self.first_byte_timeout / 3,
            request_timeout: self.request_timeout / 3,
            idle_timeout: self.idle_timeout / 3,
            delivery_timeout: self.delivery_timeout / 3,
            ..self
        }
    }

    /// Takes over from `before` what cannot be changed in a running daemon; the keys of what would have.
    pub(super) fn keep_what_needs_a_restart(&mut self, before: &Self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        let mut keep = |key, changed: bool| {
            if changed {
                keys.push(key)
            }
        };
        keep(
            "port",
            std::mem::replace(&mut self.port, before.port) != before.port,
        );
        let bind = std::mem::replace(&mut self.bind, before.bind.clone());
        keep("bind", bind != before.bind);
        let spool = std::mem::replace(&mut self.spool, before.spool.clone());
        keep("spool", spool != before.spool);
        let run_dir = std::mem::replace(&mut self.run_dir, before.run_dir.clone());
        keep("run_dir", run_dir != before.run_dir);
        let user = std::mem::replace(&mut self.user, before.user.clone());
        keep("user", user != before.user);
        let sandbox = std::mem::replace(&mut self.sandbox, before.sandbox);
        keep("sandbox", sandbox != before.sandbox);
        let log = std::mem::replace(&mut self.log, before.log);
        keep("log", log != before.log);
        keys
    }

    fn merge(cli: &Cli, file: File, place: Option<Places>) -> Result<Self, ConfigError> {
        let (spool, run_dir) = place.map(|p| (p.spool, p.run_dir)).unzip();
        let limits = file.limits();
        let seconds = |n: u64| Duration::from_secs(n);
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let port = file.port.and_then(|n| u16::try_from(n.0).ok());
        let bind = match (cli.bind.as_slice(), file.bind) {
            ([], Some(of_file)) => of_file.0,
            ([], None) => vec![Ipv6Addr::UNSPECIFIED.into()],
            (of_flags, _) => of_flags.to_vec(),
        };
        if bind.len() > MOST_ADDRESSES {
            return Err(ConfigError::TooManyAddresses(bind.len()));
        }
        let of_file = file
            .open_networks
            .map(|nets| nets.iter().map(|net| net.0).collect());
        let mut open_networks: Vec<IpNet> = of_file.unwrap_or_else(loopback);
        open_networks.extend(&cli.open_network);
        Ok(Self {
            port: cli.port().or(port).unwrap_or(8282),
            bind,
            open_networks,
            user: file.user.filter(|user| !user.is_empty()),
            sandbox: file.sandbox.unwrap_or_default(),
            log: file.log.unwrap_or_default(),
            syslog_socket: file
                .syslog_socket
                .map_or_else(|| "/dev/log".into(), |path| path.0),
            spool: cli
                .spool
                .clone()
                .or(file.spool.map(|dir| dir.0))
                .or(spool)
                .ok_or(ConfigError::NoHome)?,
            run_dir: cli
                .run_dir
                .clone()
                .or(file.run_dir.map(|dir| dir.0))
                .or(run_dir)
                .ok_or(ConfigError::NoHome)?,
            max_body: file.max_body.map_or(DEFAULT_MAX_BODY, |n| size(n.0)),
            limits,
            max_children: file.max_children.map_or(512, |n| size(n.0)),
            children_per_source: file.children_per_source.map_or(128, |n| size(n.0)),
            early_drop: file.early_drop.map_or(256, |n| size(n.0)),
            penalty_exempt: file
                .penalty_exempt
                .map_or_else(loopback, |nets| nets.iter().map(|net| net.0).collect()),
            child_memory: file.child_memory.map_or(256 << 20, |n| n.0),
            first_byte_timeout: seconds(file.first_byte_timeout.map_or(10, |n| n.0)),
            request_timeout: seconds(file.request_timeout.map_or(30, |n| n.0)),
            idle_timeout: seconds(file.idle_timeout.map_or(300, |n| n.0)),
            lease: seconds(file.lease.map_or(90, |n| n.0)),
            framed_lease: seconds(file.framed_lease.map_or(12 * 3_600, |n| n.0)),
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
            Ok(text) => {
                Self::parse(&text).map_err(|(place, what)| ConfigError::Wrong { path, place, what })
            }
            Err(source) => Err(ConfigError::Unreadable { path, source }),
        }
    }

    /// The file with this text; else where in it something is wrong, and what.
    fn parse(text: &str) -> Result<Self, (String, String)> {
        toml::from_str(text).map_err(|e| {
            let before = e.span().and_then(|span| text.get(..span.start));
            let place = before.map(|before| {
                let line = before.matches('\n').count() + 1;
                let column = before
                    .rsplit('\n')
                    .next()
                    .map_or(0, |line| line.chars().count())
                    + 1;
                format!(" at line {line}, column {column}")
            });
            (place.unwrap_or_default(), e.message().replace('\n', " "))
        })
    }
}

fn loopback() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"]
        .iter()
        .filter_map(|net| net.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn load(text: &str, flags: &[&str]) -> Result<Config, String> {
        let file = File::parse(text).map_err(|(place, what)| place + &what)?;
        let cli = Cli::try_parse_from([&["droplined"], flags].concat()).expect("flags");
        let place = Places {
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
        let (_, message) = File::parse("x = 1").expect_err("unknown");
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
        for wrong in [
            "port = -1",
            "bind = []",
            "spool = \"\"",
            "run_dir = \"/a\\u0000b\"",
            "spool = \"relative\"",
            "port = [",
        ] {
            assert!(load(wrong, &[]).is_err(), "{wrong}");
        }
        let one = load("open_networks = [\"10.1.2.3\", \"::/0\"]", &[]).expect("valid");
        assert_eq!(one.open_networks[0].to_string(), "10.1.2.3/32");
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
