//! `droplinectl check` and `expire`: maintenance of a spool.

use std::io::{self, BufWriter, Write};

use super::failure::{Failure, say};
use super::owners;
use super::progress::Progress;
use crate::name::Name;
use crate::store::{Care, Engine, Finding, StoreError, Survey};
use crate::sys::clock::unix_millis;

/// Verifies the mailboxes of `names`, or all mailboxes. Prints a line for each finding: path, offset, description. If all
/// are verified, notes on standard error whose account is gone, which is no finding.
///
/// # Errors
/// [`Failure::Findings`] if there is a finding.
pub(super) fn check(store: &dyn Engine, names: &[Name]) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut count = 0;
    if names.is_empty() {
        count += print_all(&mut out, store.check_layout())?;
        for (name, uid) in owners::gone(store)?.owners {
            say(format_args!(
                "note: {name} belongs to uid {uid}, whose account is gone; `droplinectl release {name}` lets another \
                 account have the name"
            ));
        }
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

/// Like [`check`], and rewrites each mailbox that has a finding. Reports repaired mailboxes on standard error. Fails if
/// findings remain.
pub(super) fn repair(store: &dyn Care, names: &[Name]) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut left = 0;
    if names.is_empty() {
        store.tidy()?;
        left += print_all(&mut out, store.check_layout())?;
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
                1 => "1 message is waiting".into(),
                n => format!("{n} messages are waiting"),
            };
            say(format_args!(
                "repaired the mailbox of {name}: {waiting} in it"
            ));
        }
        left += still;
        progress.step();
    }
    out.flush()?;
    Failure::unless_none(left)
}

/// Removes expired messages from all mailboxes, history beyond the limits of the spool, and messages that were set aside
/// more than 30 days ago.
pub(super) fn expire(spool: &dyn Care) -> Result<(), Failure> {
    let mut failed = 0;
    if let Err(e) = spool.expire_set_aside(unix_millis()) {
        say(e);
        failed += 1;
    }
    let names = spool.mailboxes()?;
    let mut progress = Progress::new("mailboxes", names.len());
    for name in names {
        match spool.expire(&name) {
            // The reader that holds the mailbox expires its messages when it finishes.
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

/// Prints the findings of a mailbox. An unreadable mailbox counts as one, so that the others are checked as well.
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
