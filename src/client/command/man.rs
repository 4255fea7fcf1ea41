//! `dropline man`: the manual page, generated from the definition of the command line and from man.roff.

use std::io;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::client::view;

/// The date of the manual's last review.
const DATE: &str = "2026-11-28";
/// The sections after COMMANDS.
const MORE: &str = include_str!("man.roff");

/// Prints dropline(1).
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print(line: Command) -> io::Result<()> {
    let mut page = Vec::new();
    let mut command = line.disable_help_subcommand(true);
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
        roff.text([bold(usage)]);
        let about = sub.get_long_about().or_else(|| sub.get_about());
        roff.text([roman(about.map(ToString::to_string).unwrap_or_default())]);
        let own: Vec<_> = sub
            .get_arguments()
            .filter(|argument| {
                !argument.is_global_set()
                    && !matches!(argument.get_id().as_str(), "help" | "version")
            })
            .collect();
        if own.is_empty() {
            continue;
        }
        roff.control("RS", []);
        for argument in own {
            roff.control("TP", []);
            roff.text(heading(argument));
            let help = argument.get_help().map(ToString::to_string);
            let takes_value = argument.get_action().takes_values();
            let default = argument
                .get_default_values()
                .first()
                .filter(|_| takes_value);
            let default = default.map(|value| format!(" [default: {}]", value.to_string_lossy()));
            let help = help.unwrap_or_default() + &default.unwrap_or_default();
            roff.text([roman(help)]);
        }
        roff.control("RE", []);
    }
    roff.to_writer(&mut page)?;
    page.extend_from_slice(MORE.as_bytes());
    view::write_bytes(&page)
}

/// Returns the heading for an option or an argument.
fn heading(argument: &Arg) -> Vec<Inline> {
    let mut words = Vec::new();
    if let Some(short) = argument.get_short() {
        words.push(bold(format!("-{short}")));
    }
    if let Some(long) = argument.get_long() {
        if !words.is_empty() {
            words.push(roman(", "));
        }
        words.push(bold(format!("--{long}")));
    }
    let takes_value = argument.get_action().takes_values();
    for name in argument
        .get_value_names()
        .into_iter()
        .flatten()
        .filter(|_| takes_value)
    {
        if !words.is_empty() {
            words.push(roman(" "));
        }
        words.push(italic(name.to_string()));
    }
    words
}
