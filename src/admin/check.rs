//! `droplinectl check` and `expire`: the upkeep of a spool.

use std::io::{self, BufWriter, Write};

use super::failure::{Failure, say};
use super::progress::Progress;
use crate::name::Name;
use crate::store::{Care, Finding, StoreError, Survey};

/// Verifies the mailboxes of `names`, or all, and prints a line for each finding: path, offset, what.
///
/// # Errors
/// [`Failure::Findings`] when there are any.
pub(super) fn check(store: &dyn Survey, names: &[Name]) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut count = 0;
    if names.is_empty() {
        count += print(&mut out, &store.check_layout()?)?;
    }
    let names = which(store, names)?;
    let mut progress = Progress::new("mailboxes", names.len());
    for name in &names {
        count += print_all(&mut out, store.check(name))?;
        progress.step();
    }
    out.flush()?;
    Failure::unless_none(count)
}

/// As [`check`], and writes each mailbox with a finding anew. What it prints is what was found; that a mailbox is mended
/// is said on standard error, and what is still wrong after that is a failure.
pub(super) fn repair(store: &dyn Care, names: &[Name]) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut left = 0;
    if names.is_empty() {
        store.tidy()?;
        left += print(&mut out, &store.check_layout()?)?;
    }
    let names = which(store, names)?;
    let mut progress = Progress::new("mailboxes", names.len());
    for name in &names {
        let found = store.check(name);
        if found.as_ref().is_ok_and(Vec::is_empty) {
            progress.step();
            continue;
        }
        print_all(&mut out, found)?;
        let still = match store.repair(name) {
            Ok(()) => print_all(&mut out, store.check(name))?,
            Err(e) => print_all(&mut out, Err(e))?,
        };
        if still == 0 {
            let waiting = store.queue(name)?.map_or(0, |queue| queue.waiting);
            let waiting = match waiting {
                1 => "one message waits".into(),
                n => format!("{n} messages wait"),
            };
            say(format_args!(
                "the mailbox of {name} is mended; {waiting} in it"
            ));
        }
        left += still;
        progress.step();
    }
    out.flush()?;
    Failure::unless_none(left)
}

/// Takes expired messages out of all mailboxes, and forgets history beyond the limits of the spool.
pub(super) fn expire(spool: &dyn Care) -> Result<(), Failure> {
    let names = spool.mailboxes()?;
    let mut progress = Progress::new("mailboxes", names.len());
    let mut failed = 0;
    for name in names {
        match spool.expire(&name) {
            // Its reader does the same at the end.
            Ok(_) | Err(StoreError::Busy) => {}
            Err(e) => {
                say(e);
                failed += 1;
            }
        }
        progress.step();
    }
    Failure::unless_none(failed)
}

fn which(store: &(impl Survey + ?Sized), names: &[Name]) -> Result<Vec<Name>, Failure> {
    if names.is_empty() {
        return Ok(store.mailboxes()?);
    }
    for name in names {
        if store.queue(name).is_ok_and(|queue| queue.is_none())
            && !store.mailboxes()?.contains(name)
        {
            return Err(Failure::NoMailbox(name.clone()));
        }
    }
    Ok(names.to_vec())
}

/// Prints what was found in a mailbox; that it cannot be read is a finding, and no reason to leave out others.
fn print_all(out: &mut impl Write, found: Result<Vec<Finding>, StoreError>) -> io::Result<usize> {
    match found {
        Ok(findings) => print(out, &findings),
        Err(e) => writeln!(out, "{e}").map(|()| 1),
    }
}

fn print(out: &mut impl Write, findings: &[Finding]) -> io::Result<usize> {
    for Finding {
        place,
        offset,
        what,
    } in findings
    {
        writeln!(out, "{}: byte {offset}: {what}", place)?;
    }
    Ok(findings.len())
}
