//! What the daemon is told: defaults, then the configuration file, then flags.

mod file;
mod sense;

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Spanned;

pub(super) use self::file::network;
use self::file::{File, MOST_ADDRESSES};
use super::cli::Cli;
use crate::message::DEFAULT_MAX_BODY;
use crate::places::Places;
use crate::store::Limits;

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
    /// The configuration that these flags, and the file they name or that of these places, make. The places are those
    /// of whoever started the daemon, and not of whom it has become. Where the file is a pipe, whoever writes to it
    /// has so much `patience`.
    ///
    /// # Errors
    /// What is wrong with the file, with line and column.
    pub(super) fn load(
        cli: &Cli,
        place: Option<&Places>,
        patience: Duration,
    ) -> Result<Self, ConfigError> {
        let file = match (&cli.config, place) {
            (Some(path), _) => File::read(path, cli.check, patience)?,
            (None, Some(place)) if place.config.exists() => {
                File::read(&place.config, cli.check, patience)?
            }
            (None, _) => File::default(),
        };
        Self::merge(cli, file, place)
    }

    /// How many more connections are served over the socket alone.
    pub(super) fn reserve(&self) -> usize {
        (self.max_children / 16).max(8)
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
        keep("port", &mut self.port, &before.port, &mut keys);
        keep("bind", &mut self.bind, &before.bind, &mut keys);
        keep("user", &mut self.user, &before.user, &mut keys);
        keep("sandbox", &mut self.sandbox, &before.sandbox, &mut keys);
        keep("log", &mut self.log, &before.log, &mut keys);
        let (now, then) = (&mut self.syslog_socket, &before.syslog_socket);
        keep("syslog_socket", now, then, &mut keys);
        keep("spool", &mut self.spool, &before.spool, &mut keys);
        keep("run_dir", &mut self.run_dir, &before.run_dir, &mut keys);
        keys
    }

    fn merge(cli: &Cli, file: File, place: Option<&Places>) -> Result<Self, ConfigError> {
        let (spool, run_dir) = place.map(|p| (p.spool.clone(), p.run_dir.clone())).unzip();
        let limits = limits(&file);
        let seconds = |n: u64| Duration::from_secs(n);
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let port = file.port.and_then(|n| u16::try_from(n.0).ok());
        let bind = match (cli.bind.as_slice(), file.bind) {
            ([], Some(of_file)) => of_file.into_inner().0,
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
            user: file
                .user
                .map(Spanned::into_inner)
                .filter(|user| !user.is_empty()),
            sandbox: file.sandbox.unwrap_or_default(),
            log: file.log.unwrap_or_default(),
            syslog_socket: file
                .syslog_socket
                .map_or_else(|| "/dev/log".into(), |path| path.0),
            spool: cli
                .spool
                .clone()
                .or(file.spool.map(|dir| dir.into_inner().0))
                .or(spool)
                .ok_or(ConfigError::NoHome)?,
            run_dir: cli
                .run_dir
                .clone()
                .or(file.run_dir.map(|dir| dir.into_inner().0))
                .or(run_dir)
                .ok_or(ConfigError::NoHome)?,
            max_body: file
                .max_body
                .map_or(DEFAULT_MAX_BODY, |n| size(n.into_inner().0)),
            limits,
            max_children: file.max_children.map_or(512, |n| size(n.into_inner().0)),
            children_per_source: file
                .children_per_source
                .map_or(128, |n| size(n.into_inner().0)),
            early_drop: file.early_drop.map_or(256, |n| size(n.into_inner().0)),
            penalty_exempt: file
                .penalty_exempt
                .map_or_else(loopback, |nets| nets.iter().map(|net| net.0).collect()),
            child_memory: file.child_memory.map_or(256 << 20, |n| n.0),
            first_byte_timeout: seconds(file.first_byte_timeout.map_or(10, |n| n.into_inner().0)),
            request_timeout: seconds(file.request_timeout.map_or(30, |n| n.into_inner().0)),
            idle_timeout: seconds(file.idle_timeout.map_or(300, |n| n.0)),
            lease: seconds(file.lease.map_or(90, |n| n.0)),
            framed_lease: seconds(file.framed_lease.map_or(12 * 3_600, |n| n.0)),
            delivery_timeout: seconds(file.delivery_timeout.map_or(10, |n| n.0)),
            drain_timeout: seconds(file.drain_timeout.map_or(5, |n| n.0)),
        })
    }
}

/// Takes over the value that was in force `before`; notes the key when that is another one.
fn keep<T: Clone + PartialEq>(
    key: &'static str,
    now: &mut T,
    before: &T,
    keys: &mut Vec<&'static str>,
) {
    if now != before {
        now.clone_from(before);
        keys.push(key);
    }
}

/// What the store is told.
fn limits(file: &File) -> Limits {
    let default = Limits::default();
    Limits {
        quota_messages: file.quota_messages.map_or(default.quota_messages, |n| n.0),
        quota_bytes: file
            .quota_bytes
            .as_ref()
            .map_or(default.quota_bytes, |n| n.as_ref().0),
        history_millis: file
            .history_days
            .map_or(default.history_millis, |n| n.0 * 24 * 3_600_000),
        history_bytes: file.history_bytes.map_or(default.history_bytes, |n| n.0),
        min_free_bytes: file.min_free_bytes.map_or(default.min_free_bytes, |n| n.0),
        min_free_inodes: file
            .min_free_inodes
            .map_or(default.min_free_inodes, |n| n.0),
    }
}

fn loopback() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"]
        .iter()
        .filter_map(|net| net.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests;
