//! `dropline read`.

use crate::client::link::{LinkError, Server};
use crate::client::view::Printer;
use crate::name::Name;

/// Prints what waits for `of`; how many messages that were. They leave the queue after they are printed.
///
/// # Errors
/// The messages stay waiting.
pub(in crate::client) fn read(server: &Server, of: &Name) -> Result<usize, LinkError> {
    let mut printer = Printer::new(&std::io::stdout());
    server.fetch(of, &mut printer)?;
    Ok(printer.count())
}
