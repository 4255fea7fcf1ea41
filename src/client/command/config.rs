//! `dropline config`.

use std::fmt::Display;
use std::io;

use crate::client::settings::{Setting, Settings};
use crate::client::view;

/// Prints the settings in the format of the configuration file, each with its origin.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn config(settings: &Settings) -> io::Result<()> {
    let server = settings.server();
    let user = settings.user_at(&server);
    line("server", Some(&server), &settings.server)?;
    line("user", user.as_ref(), &settings.user)?;
    line("source", settings.source.value.as_ref(), &settings.source)?;
    line("dialect", Some(&settings.dialect()), &settings.dialect)?;
    line("colour", Some(&settings.colour()), &settings.colour)
}

fn line<T>(key: &str, value: Option<&impl Display>, set: &Setting<T>) -> io::Result<()> {
    let text = match value {
        Some(value) => format!("{key} = {:?}", value.to_string()),
        None => format!("# {key} is not set"),
    };
    view::print_line(&format!("{text:<40} # {}", set.origin))
}
