//! `dropline read`.

use std::io;

use crate::client::link::{LinkError, Server};
use crate::client::view::Printer;
use crate::name::Name;
use crate::sys::stdio;

/// Prints what waits for `of`; how many messages that were. They leave the queue after they are printed.
///
/// # Errors
/// The messages stay waiting.
pub(in crate::client) fn read(server: &Server, of: &Name) -> Result<usize, LinkError> {
    if stdio::output_is_closed() {
        let error = io::Error::from_raw_os_error(nix::libc::EBADF);
        return Err(LinkError::Output(error));
    }
    let mut printer = Printer::new(&io::stdout());
    server.fetch(of, &mut printer)?;
    Ok(printer.count())
}
