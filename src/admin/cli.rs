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
    /// Print what waits: mailbox, messages, bytes on the disk, and since when
    Queue {
        /// Only this mailbox, also when nothing waits in it
        name: Option<Name>,
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
