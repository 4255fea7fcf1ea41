//! `dropline completion`: completion scripts, generated from the definition of the command line.

use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_complete::aot::generate;

use crate::client::view;

/// The command line of `completion`.
#[derive(Debug, clap::Args)]
pub(in crate::client) struct Args {
    /// Shell: bash, elvish, fish, powershell or zsh
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completion script for this command line.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print(mut line: Command, args: &Args) -> io::Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut line, "dropline", &mut script);
    view::write_bytes(&script)
}
