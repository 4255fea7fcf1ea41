//! The command line of `droplinectl`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::name::Name;

/// Everything that can be said on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "droplinectl",
    version,
    about = "Looks after the spool of droplined"
)]
pub(super) struct Cli {
    /// Directory that holds the messages
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/spool/dropline",
        global = true
    )]
    pub(super) spool: PathBuf,

    #[command(subcommand)]
    pub(super) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
    /// Take messages that have expired out of the queues, and forget history that is older or more than is
    /// kept (by default 7 days and 16 MiB)
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
    Import,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        super::Cli::command().debug_assert();
    }
}
