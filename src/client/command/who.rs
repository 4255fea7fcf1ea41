//! `dropline who`.

use std::io;

use crate::client::link::{Link, LinkError};
use crate::client::view;
use crate::name::Name;

/// Prints who is registered, and who of them is there: those who are there first.
///
/// # Errors
/// When the server does not answer, or does not know; or nothing can be printed.
pub(in crate::client) fn who(link: &Link, me: Option<&Name>) -> Result<(), LinkError> {
    let mut people = link.who(me)?;
    people.sort_by_key(|person| !person.online);
    for person in &people {
        let state = if person.online { "online" } else { "offline" };
        view::show(&format!("{} ({state})", person.name)).map_err(print_error)?;
    }
    if people.is_empty() {
        view::say("Nobody is registered.");
    }
    Ok(())
}

fn print_error(error: io::Error) -> LinkError {
    LinkError::Output(error)
}
