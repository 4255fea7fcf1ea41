//! `droplinectl queue`.

use std::io::{self, BufWriter, Write};

use super::Failure;
use crate::name::Name;
use crate::store::{Queue, Survey};

/// Prints a line for each mailbox in which something waits, or for the one that is named: its name, how
/// many messages, how many bytes on the disk, and when the oldest was accepted.
pub(super) fn print(store: &dyn Survey, name: Option<&Name>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    if let Some(name) = name {
        let queue = store.queue(name)?;
        let queue = queue.ok_or_else(|| Failure::NoMailbox(name.clone()))?;
        line(&mut out, name, &queue)?;
    } else {
        for name in store.mailboxes()? {
            match store.queue(&name)? {
                Some(queue) if queue.waiting > 0 => line(&mut out, &name, &queue)?,
                _ => {}
            }
        }
    }
    Ok(out.flush()?)
}

fn line(out: &mut impl Write, name: &Name, queue: &Queue) -> io::Result<()> {
    let Queue {
        waiting,
        bytes,
        oldest,
    } = queue;
    let since = oldest
        .and_then(|at| i64::try_from(at).ok())
        .and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    match since {
        Some(since) => writeln!(out, "{name}\t{waiting}\t{bytes}\t{since:.0}"),
        None => writeln!(out, "{name}\t{waiting}\t{bytes}\t-"),
    }
}
