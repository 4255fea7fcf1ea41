//! `dropline status`.

use crate::client::handle::Handle;
use crate::client::link::{Link, LinkError};
use crate::client::view;
use crate::name::Name;

/// The command line of `status`.
#[derive(Debug, clap::Args)]
pub(in crate::client) struct Args {
    /// Handle that `send` printed, such as bob/17
    #[arg(value_name = "HANDLE")]
    handle: Handle,
}

/// Prints the status of a message that `me` has sent.
///
/// # Errors
/// The server does not answer, the message is unknown, or standard output cannot be written.
pub(super) fn status(link: &Link, me: &Name, args: &Args) -> Result<(), LinkError> {
    let status = link.status(me, &args.handle)?;
    let mut line = view::sanitized(status.state.as_bytes());
    if let Some(at) = status.at {
        let when = if status.state == "expired" {
            "at"
        } else {
            "accepted"
        };
        line.push_str(&format!("  {when} {}", view::moment(at)));
    }
    view::print_line(&view::in_rows(&line)).map_err(LinkError::Printing)
}
