//! The client, `dropline`: a menu on a terminal, and a command for each task.
#![forbid(unsafe_code)]

mod cli;
mod command;
mod duration;
mod exit;
mod failure;
mod handle;
mod inbox;
mod instant;
mod invocation;
mod link;
mod menu;
mod message_view;
mod outbox;
mod settings;
mod state_dir;
mod submission;
mod thread;
mod usage;
mod view;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::cli::Cli;
use self::failure::Failure;
use self::invocation::Invocation;
use crate::sys::signal;

/// Runs `dropline` and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    signal::hear_of_children();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage::answer(e),
    };
    match run(&cli) {
        Ok(status) => status.into(),
        Err(failure) if failure.is_closed_pipe() => failure.exit_status().into(),
        Err(failure) => {
            view::error(&failure);
            if matches!(failure, Failure::NoCommand) {
                view::notice(&Cli::command().render_usage().to_string());
            }
            failure.exit_status().into()
        }
    }
}

fn run(cli: &Cli) -> Result<u8, Failure> {
    let named = cli
        .server()
        .map_err(|e| Failure::NoServer(cli.host_as_typed().into(), e))?;
    let call = Invocation {
        options: &cli.options,
        named,
    };
    command::run(cli.command.as_ref(), &call, Cli::command())
}
