//! `dropline completion`, and the manual page: made from the command line's own description.

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_complete::aot::generate;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::client::cli::Cli;
use crate::client::view;

/// When the manual was looked through last.
const DATE: &str = "2026-11-22";
/// What the command line's description does not say.
const MORE: &str = include_str!("reference.roff");

/// Prints the completions for a shell.
///
/// # Errors
/// When nothing can be printed.
pub(in crate::client) fn completion(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "dropline", &mut script);
    view::raw(&script)
}

/// Prints dropline(1).
///
/// # Errors
/// When nothing can be printed.
pub(in crate::client) fn manual() -> io::Result<()> {
    let mut page = Vec::new();
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let man = Man::new(command.clone()).date(DATE).manual("dropline");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let usage = sub
            .clone()
            .disable_help_flag(true)
            .render_usage()
            .to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        roff.control("TP", []);
        roff.text([clap_mangen::roff::bold(usage)]);
        let about = sub.get_long_about().or_else(|| sub.get_about());
        roff.text([roman(about.map(ToString::to_string).unwrap_or_default())]);
    }
    roff.to_writer(&mut page)?;
    page.extend_from_slice(MORE.as_bytes());
    view::raw(&page)
}
