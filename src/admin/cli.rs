//! The command line of `droplinectl`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::DEFAULTS;
use crate::name::Name;

/// Everything that can be said on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "droplinectl",
    version,
    about = "Looks after the spool of droplined"
)]
pub(super) struct Cli {
    #[arg(long, value_name = "DIR", global = true, help = format!(
        "Directory that holds the messages [default: what the configuration says, or that of a daemon that you run; for \
         root, {}]", DEFAULTS.spool
    ))]
    pub(super) spool: Option<PathBuf>,

    #[arg(long, value_name = "DIR", global = true, help = format!(
        "The daemon's run directory [default: what the configuration says, or that of a daemon that you run; for root, \
         {}]", DEFAULTS.run_dir
    ))]
    pub(super) run_dir: Option<PathBuf>,

    /// The daemon's configuration: where its directories are, and how long messages are kept [default: that of a
    /// daemon that you run, if there is one; for root, /etc/dropline/droplined.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(super) command: Command,
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
    #[command(about = format!(
        "Take messages that have expired out of the queues, and forget history that is older or more than the \
         configuration keeps (by default {} days and {} MiB)", DEFAULTS.history_days, DEFAULTS.history_bytes >> 20
    ))]
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
