//! The command line of `droplinectl`.

use std::path::PathBuf;

use clap::{ArgGroup, Parser, Subcommand};

use crate::config::DEFAULTS;
use crate::name::Name;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "droplinectl",
    version,
    about = "Inspect droplined and maintain its spool"
)]
pub(super) struct Cli {
    #[arg(long, value_name = "DIR", global = true, help = format!(
        "Directory of the messages [default: that of the configuration; without one, that of your own daemon, or {} for \
         root]", DEFAULTS.spool
    ))]
    pub(super) spool: Option<PathBuf>,

    #[arg(long, value_name = "DIR", global = true, help = format!(
        "Run directory of the daemon [default: that of the configuration; without one, that of your own daemon, or {} \
         for root]", DEFAULTS.run_dir
    ))]
    pub(super) run_dir: Option<PathBuf>,

    /// Configuration of the daemon: its directories, and how long it keeps messages [default: that of your own daemon,
    /// if there is one, or /etc/dropline/droplined.toml for root]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(super) command: Command,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the daemon's connections and counters
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the status every second, until interrupted
    Top {
        /// Stop after this many times [default: 1 if standard output is not a terminal]
        #[arg(short = 'n', value_name = "TIMES")]
        times: Option<u64>,
    },
    /// Print the counters in the Prometheus text format, for example for the textfile collector of node_exporter
    Metrics,
    /// Print the names that are registered or have an owner: name, time of registration, user ID of the owner
    Users,
    /// Print the waiting messages of each mailbox: name, number, bytes on disk, and time of the oldest
    Queue {
        /// Print only this mailbox, even if no message is waiting in it
        name: Option<Name>,
    },
    /// Print the delivered messages of a mailbox that are still kept: number, time, sender, message
    History {
        /// Owner of the mailbox
        name: Name,
    },
    #[command(about = format!(
        "Remove expired messages from the queues, delivered messages beyond the limits of the configuration (by \
         default {} days and {} MiB), and messages that were set aside 30 days ago", DEFAULTS.history_days,
        DEFAULTS.history_bytes >> 20
    ))]
    Expire,
    /// End the ownership of a name and set its messages aside; or list or restore messages that were set aside
    #[command(group = ArgGroup::new("what").args(["name", "gone", "list"]).required(true))]
    Release {
        /// Name to release
        name: Option<Name>,
        /// Give the waiting messages that were set aside back to the name, if its owner is the one that had them
        #[arg(long, requires = "name")]
        restore: bool,
        /// Like --restore, but to the present owner of the name, even if the messages belonged to another one
        #[arg(long, requires = "name")]
        to_new_owner: bool,
        /// Release all names whose owners had an account in /etc/passwd that is gone, and print them
        #[arg(long)]
        gone: bool,
        /// With --gone, only print the names
        #[arg(long, requires = "gone")]
        dry_run: bool,
        /// Print what was set aside: name, time, number of waiting and read messages, bytes on disk, user ID of the
        /// former owner
        #[arg(long)]
        list: bool,
    },
    /// Record another user ID as the owner of a name that has an owner; the messages stay
    Owner {
        /// Name that has an owner
        name: Name,
        /// User ID of the new owner
        #[arg(long, value_name = "UID", value_parser = clap::value_parser!(u32).range(..i64::from(u32::MAX)))]
        uid: u32,
    },
    /// Verify every message, print a line for each finding, and exit with status 1 if there is one
    Check {
        /// Repair the findings, and move what cannot be repaired to the quarantine of the spool; the daemon must
        /// not be running
        #[arg(long)]
        repair: bool,
        /// Check only these mailboxes
        names: Vec<Name>,
    },
    /// Print all names and mailboxes, one JSON object per line
    Export,
    /// Read the output of `export` from standard input into a spool that has none of its mailboxes; the daemon
    /// must not be running
    Import {
        /// Skip mailboxes that exist, to continue an import that has failed
        #[arg(long)]
        missing: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_valid() {
        super::Cli::command().debug_assert();
    }
}
