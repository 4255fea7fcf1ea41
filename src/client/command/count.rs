//! `dropline count`.

use crate::client::inbox::Inbox;
use crate::client::link::{Link, LinkError};
use crate::client::{exit, view};
use crate::name::Name;

/// Prints the number of messages waiting for `of`, in the inbox and on the server. Returns the exit status.
///
/// # Errors
/// The server does not answer, or standard output cannot be written.
pub(super) fn count(link: &Link, of: &Name) -> Result<u8, LinkError> {
    let inbox = Inbox::open(of).and_then(|mut inbox| inbox.waiting());
    let here = inbox.map_or(0, |waiting| waiting.len() as u64);
    let waiting = link.count(of)? + here;
    view::print_line(&waiting.to_string()).map_err(LinkError::Printing)?;
    Ok(match waiting {
        0 => exit::NOTHING,
        _ => exit::DONE,
    })
}
