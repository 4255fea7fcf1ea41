//! The command line of `droplinectl`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::config::{Config, ConfigError};
use crate::name::Name;
use crate::places::{Places, SYSTEM_RUN_DIR};
use crate::store::Limits;

/// Everything that can be said on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "droplinectl",
    version,
    about = "Looks after the spool of droplined"
)]
pub(super) struct Cli {
    /// Directory that holds the messages [default: what the configuration says, or that of a daemon that you
    /// run; for root, /var/spool/dropline]
    #[arg(long, value_name = "DIR", global = true)]
    spool: Option<PathBuf>,

    /// The daemon's run directory [default: what the configuration says, or that of a daemon that you run; for
    /// root, /run/dropline]
    #[arg(long, value_name = "DIR", global = true)]
    run_dir: Option<PathBuf>,

    /// The daemon's configuration: where its directories are, and how long messages are kept [default: that of a
    /// daemon that you run, if there is one; for root, /etc/dropline/droplined.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// The configuration that is named, or the usual one.
    fn config(&self) -> Result<Config, ConfigError> {
        let usual = || Places::of_this_user().map(|places| places.config);
        match &self.config {
            Some(path) => Config::read(path),
            None => match usual().filter(|path| path.exists()) {
                Some(path) => Config::read(&path),
                None => Ok(Config::default()),
            },
        }
    }

    /// The directory of the messages.
    ///
    /// # Errors
    /// When it is not named, and the configuration cannot be read.
    pub(super) fn spool(&self) -> Result<PathBuf, ConfigError> {
        match &self.spool {
            Some(named) => Ok(named.clone()),
            None => Ok(spool_of(&self.config()?)),
        }
    }

    /// What is kept of that. A configuration that is not named says nothing of a spool that is not its own.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub(super) fn limits(&self) -> Result<Limits, ConfigError> {
        let config = self.config()?;
        let strange = self
            .spool
            .as_ref()
            .is_some_and(|named| *named != spool_of(&config));
        if self.config.is_none() && strange {
            return Ok(Limits::default());
        }
        Ok(config.limits())
    }

    /// The daemon's run directory. One may look at a daemon whose configuration has a mistake by now.
    pub(super) fn run_dir(&self) -> PathBuf {
        let said = || self.config().ok()?.run_dir;
        let place = || Places::of_this_user().map(|places| places.run_dir);
        let named = self.run_dir.clone().or_else(said).or_else(place);
        named.unwrap_or_else(|| SYSTEM_RUN_DIR.into())
    }
}

fn spool_of(config: &Config) -> PathBuf {
    let place = || Places::of_this_user().map(|places| places.spool);
    let said = config.spool.clone().or_else(place);
    said.unwrap_or_else(|| "/var/spool/dropline".into())
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print what the daemon does, and what it has done since it was started
    Status {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show the status every second, until it is interrupted
    Top {
        /// Only so many times [default: 1 where standard output is no terminal]
        #[arg(short = 'n', value_name = "TIMES")]
        times: Option<u64>,
    },
    /// Print counters in the text format of Prometheus, as for the textfile collector of node_exporter
    Metrics,
    /// Print the names that are registered, and since when
    Users,
    /// Print what waits: mailbox, messages, bytes on the disk, and since when
    Queue {
        /// Only this mailbox, also when nothing waits in it
        name: Option<Name>,
    },
    /// Print the messages of a mailbox that were read and are still kept: number, time, sender, message
    History {
        /// Whose mailbox
        name: Name,
    },
    /// Take messages that have expired out of the queues, and forget history that is older or more than the
    /// configuration keeps (by default 7 days and 16 MiB)
    Expire,
    /// Let a name go that belongs to a login of this machine because it was used over the daemon's socket:
    /// anybody may use it then
    Release {
        /// Which name
        name: Name,
    },
    /// Verify every message; a line for each finding, and exit status 1 if there is one
    Check {
        /// Mend what is found, with what cannot be mended put into the spool's quarantine; the daemon must
        /// not run
        #[arg(long)]
        repair: bool,
        /// Only these mailboxes
        names: Vec<Name>,
    },
    /// Print all mailboxes, one JSON object a line
    Export,
    /// Read what `export` has printed from standard input into a spool that has none of these mailboxes;
    /// the daemon must not run
    Import {
        /// Pass over mailboxes that are there already: to go on where an import has failed
        #[arg(long)]
        missing: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        super::Cli::command().debug_assert();
    }
}
