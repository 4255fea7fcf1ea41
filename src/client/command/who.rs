//! `dropline who`.

use serde::Serialize;

use crate::client::link::{Link, LinkError};
use crate::client::view;
use crate::name::Name;

/// The command line of `who`.
#[derive(Debug, Default, clap::Args)]
pub(in crate::client) struct Args {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// A registered user as JSON.
#[derive(Serialize)]
struct PersonRecord {
    name: String,
    online: bool,
}

/// Prints the registered users, those who are online first.
///
/// # Errors
/// The server does not answer, the dialect has no presence, or standard output cannot be written.
pub(in crate::client) fn who(link: &Link, me: Option<&Name>, args: &Args) -> Result<(), LinkError> {
    let mut people = link.who(me)?;
    people.sort_by_key(|person| !person.online);
    for person in &people {
        let name = person.name.to_string();
        let line = match (args.json, person.online) {
            (true, online) => view::object(&PersonRecord { name, online }),
            (false, true) => format!("{name} (online)"),
            (false, false) => format!("{name} (offline)"),
        };
        view::print_line(&line).map_err(LinkError::Printing)?;
    }
    if people.is_empty() && !args.json {
        view::notice("No user is registered.");
    }
    Ok(())
}
