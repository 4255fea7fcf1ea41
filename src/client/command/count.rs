//! `dropline count`.

use crate::client::inbox::Inbox;
use crate::client::link::{Link, LinkError};
use crate::client::{exit, view};
use crate::name::Name;

/// Prints how many messages wait for `of`, in the inbox and at the server; returns the exit status.
///
/// # Errors
/// When the server does not answer, or nothing can be printed.
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
