//! `droplinectl queue`.

use std::io::{self, BufWriter, Write};

use super::{Failure, say, time};
use crate::name::Name;
use crate::store::{Queue, Survey};

/// Prints a line for each mailbox in which something waits, or for the one that is named: its name, how
/// many messages, how many bytes on the disk, and when the oldest was accepted. A damaged mailbox is named
/// on standard error, and the others are printed.
pub(super) fn print(store: &dyn Survey, name: Option<&Name>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    if let Some(name) = name {
        let queue = store.queue(name)?;
        let queue = queue.ok_or_else(|| Failure::NoMailbox(name.clone()))?;
        line(&mut out, name, &queue)?;
        return Ok(out.flush()?);
    }
    let mut damaged = 0;
    for name in store.mailboxes()? {
        match store.queue(&name) {
            Ok(Some(queue)) if queue.waiting > 0 => line(&mut out, &name, &queue)?,
            Ok(_) => {}
            Err(e) => {
                damaged += 1;
                say(&format!("droplinectl: {e}"));
            }
        }
    }
    out.flush()?;
    match damaged {
        0 => Ok(()),
        n => Err(Failure::Findings(n)),
    }
}

fn line(out: &mut impl Write, name: &Name, queue: &Queue) -> io::Result<()> {
    let Queue {
        waiting,
        bytes,
        oldest,
    } = queue;
    writeln!(out, "{name}\t{waiting}\t{bytes}\t{}", time::text(*oldest))
}
