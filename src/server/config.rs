//! Loads the daemon's configuration. The configuration file overrides the defaults, and flags override both.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::cli::Cli;
pub(super) use crate::config::{Config, LogTo, NamedSocket, Sandbox, Titles};
use crate::config::{ConfigFile, DefaultPaths, FileError, Kind as _, MOST_ADDRESSES, SOCKET};

/// Why the configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error(transparent)]
    File(#[from] FileError),
    /// There are more addresses than the master polls.
    #[error("there are {0} addresses to bind to; at most {MOST_ADDRESSES} are allowed")]
    TooManyAddresses(usize),
    /// The path of an entry is that of the daemon's own socket.
    #[error("path of a [[socket]]: {0} is the socket of the daemon in run_dir")]
    OwnSocket(PathBuf),
    #[error("cannot tell where to keep messages: $HOME is not set; use --spool and --run-dir")]
    NoHome,
}

impl Config {
    /// Loads the file that the flags name, or else the one of `paths`, and applies the flags. `paths` are those of the
    /// user who started the daemon, not of the account that it became. A pipe must be closed by its writer in
    /// `timeout`.
    ///
    /// # Errors
    /// When the file is invalid, with line and column, or no spool or run directory is known.
    pub(super) fn load(
        cli: &Cli,
        paths: Option<&DefaultPaths>,
        timeout: Duration,
    ) -> Result<Self, ConfigError> {
        let usual = paths.map(|paths| &paths.config);
        // An inaccessible file must not count as a missing one, else the defaults would silently replace it.
        let is_missing = |path: &PathBuf| matches!(path.try_exists(), Ok(false));
        let usual = usual.filter(|path| !is_missing(path));
        let path = cli.config.as_ref().or(usual);
        let file = match path {
            Some(path) => ConfigFile::read(path, cli.check, timeout)?,
            None => ConfigFile::default(),
        };
        Self::merge(cli, &file, paths)
    }

    fn merge(
        cli: &Cli,
        file: &ConfigFile,
        paths: Option<&DefaultPaths>,
    ) -> Result<Self, ConfigError> {
        // The defaults of these two keys in the table hold for root's daemon only, hence `paths`.
        let directory = |flag: &Option<PathBuf>, set: Option<PathBuf>, usual: Option<&PathBuf>| {
            let usual = || usual.cloned();
            let path = flag.clone().or(set).or_else(usual);
            path.ok_or(ConfigError::NoHome)
        };
        let spool = file.spool.as_ref().map(|dir| dir.as_ref().value());
        let run_dir = file.run_dir.as_ref().map(|dir| dir.as_ref().value());
        let mut config = Self {
            spool: directory(&cli.spool, spool, paths.map(|paths| &paths.spool))?,
            run_dir: directory(&cli.run_dir, run_dir, paths.map(|paths| &paths.run_dir))?,
            ..file.settings()
        };
        config.port = cli.port().unwrap_or(config.port);
        if !cli.bind.is_empty() {
            config.bind.clone_from(&cli.bind);
        }
        if config.bind.len() > MOST_ADDRESSES {
            return Err(ConfigError::TooManyAddresses(config.bind.len()));
        }
        let own = config.run_dir.join(SOCKET);
        if config.socket.iter().any(|socket| socket.path == own) {
            return Err(ConfigError::OwnSocket(own));
        }
        config.open_networks.extend(&cli.open_network);
        Ok(config)
    }

    /// Returns whether this configuration closes a name, or refuses an address, that `before` did not.
    pub(super) fn is_narrower_than(&self, before: &Self) -> bool {
        let has_fewer_names = !before
            .open_logins
            .iter()
            .all(|name| self.open_logins.contains(name));
        let is_in = |network: &IpNet| self.open_networks.iter().any(|net| net.contains(network));
        let has_fewer_addresses = !before.open_networks.iter().all(is_in);
        let closes_logins = self.reserve_logins && (!before.reserve_logins || has_fewer_names);
        closes_logins || has_fewer_addresses
    }

    /// Returns how many children may serve clients that may make no request.
    pub(super) fn stranger_children(&self) -> usize {
        percent(self.max_children, self.stranger_percent)
    }

    /// Returns how many children may serve sessions of TCP clients that only wait.
    pub(super) fn waiting_children(&self) -> usize {
        percent(self.max_children, self.waiting_percent)
    }

    /// Like [`waiting_children`](Self::waiting_children), for one source.
    pub(super) fn waiting_of_source(&self) -> usize {
        percent(self.children_per_source, self.waiting_source_percent)
    }
}

/// Returns this part of `all`, but at least 1.
fn percent(all: usize, percent: usize) -> usize {
    (all * percent / 100).max(1)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use clap::Parser as _;

    use super::*;

    fn load(text: &str, flags: &[&str]) -> Config {
        let file = ConfigFile::parse(text).expect("valid");
        let cli = Cli::try_parse_from([&["droplined"], flags].concat()).expect("flags");
        let paths = DefaultPaths {
            config: "/c".into(),
            spool: "/s".into(),
            run_dir: "/r".into(),
        };
        Config::merge(&cli, &file, Some(&paths)).expect("valid")
    }

    #[test]
    fn flags_win() {
        let file = "port = 1\nbind = [\"::1\"]\nopen_networks = [\"10.0.0.0/8\"]\nspool = \"/f\"";
        let flags = [
            "-p",
            "2",
            "--bind",
            "127.0.0.1",
            "--open-network",
            "10.1.0.0/16",
        ];
        let config = load(file, &flags);
        assert_eq!(config.port, 2);
        assert_eq!(
            config.bind,
            ["127.0.0.1".parse::<IpAddr>().expect("an address")]
        );
        assert_eq!(config.open_networks.len(), 2);
        assert_eq!(load(file, &[]).port, 1);
        let spool = |file, flags: &[&str]| load(file, flags).spool;
        assert_eq!(spool(file, &["--spool", "/g"]), PathBuf::from("/g"));
        assert_eq!(spool(file, &[]), PathBuf::from("/f"));
        assert_eq!(spool("", &[]), PathBuf::from("/s"));
    }

    #[test]
    fn narrower_access_is_recognized() {
        let wide = "open_networks = [\"10.0.0.0/8\", \"::1\"]\nopen_logins = [\"al\", \"bo\"]";
        let wide = load(wide, &[]);
        for narrow in [
            "open_networks = [\"10.0.0.0/8\"]\nopen_logins = [\"al\", \"bo\"]",
            "open_networks = [\"10.0.0.0/9\", \"::1\"]\nopen_logins = [\"al\", \"bo\"]",
            "open_networks = [\"10.0.0.0/8\", \"::1\"]\nopen_logins = [\"al\"]",
        ] {
            let narrow = load(narrow, &[]);
            assert!(narrow.is_narrower_than(&wide), "{narrow:?}");
            assert!(!wide.is_narrower_than(&narrow), "{narrow:?}");
        }
        let open = Config {
            reserve_logins: false,
            ..wide.clone()
        };
        assert!(wide.is_narrower_than(&open));
        assert!(!open.is_narrower_than(&wide));
        assert!(!wide.is_narrower_than(&wide));
    }

    #[test]
    fn a_further_socket_is_not_that_of_the_daemon() {
        let file = "[[socket]]\npath = \"/r//dropline.sock\"\nname = \"web\"";
        let file = ConfigFile::parse(file).expect("valid");
        let merge = |run_dir: &str| {
            let cli = Cli::try_parse_from(["droplined", "--spool", "/s", "--run-dir", run_dir]);
            Config::merge(&cli.expect("flags"), &file, None)
        };
        let error = merge("/r").expect_err("its own").to_string();
        assert_eq!(
            error,
            "path of a [[socket]]: /r/dropline.sock is the socket of the daemon in run_dir"
        );
        assert_eq!(merge("/other").expect("valid").socket.len(), 1);
    }

    #[test]
    fn parts_are_of_all_places_and_never_none() {
        let config = load("max_children = 512\nchildren_per_source = 128", &[]);
        let parts = |config: &Config| {
            [
                config.stranger_children(),
                config.waiting_children(),
                config.waiting_of_source(),
            ]
        };
        assert_eq!(parts(&config), [61, 128, 64]);
        let config = load("max_children = 2\nchildren_per_source = 1", &[]);
        assert_eq!(parts(&config), [1, 1, 1]);
    }
}
