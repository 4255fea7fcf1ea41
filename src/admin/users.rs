//! `droplinectl users`.

use std::io::{self, BufWriter, Write};

use super::{Failure, time};
use crate::store::Users;

/// Prints a line for each registered name: the name, and since when.
pub(super) fn print(store: &dyn Users) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    for user in store.users()? {
        writeln!(out, "{}\t{}", user.name, time::text(Some(user.registered)))?;
    }
    Ok(out.flush()?)
}
