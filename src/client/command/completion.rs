//! `dropline completion`: completions for a shell, made from the command line's own description.

use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_complete::aot::generate;

use crate::client::view;

/// The command line of `completion`.
#[derive(Debug, clap::Args)]
pub(in crate::client) struct Args {
    /// Which shell: bash, elvish, fish, powershell or zsh
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions of this command line.
///
/// # Errors
/// When nothing can be printed.
pub(super) fn print(mut line: Command, args: &Args) -> io::Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut line, "dropline", &mut script);
    view::write_bytes(&script)
}
