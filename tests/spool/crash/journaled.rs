//! What is done with a journal, and every crash state of that.

use std::path::{Path, PathBuf};

use super::super::journal::tests::empty_full;
use super::super::paths::JOURNAL;
use super::{Disk, Stage, report, try_all};
use crate::sys::operation_log::{self, Op};

/// A few messages fill a segment.
pub(super) const SEGMENT: u64 = 4_096;

/// Sends and reads, while each message that can be is durable in the journal alone at first.
fn life_with_a_journal(stage: &mut Stage) -> (Disk, Vec<Op>) {
    stage.spool.journal.set_own_log(Some(SEGMENT));
    let before = Disk::read(&stage.path);
    operation_log::start();
    // The first makes the mailbox, and is no matter of the journal.
    stage.store(&[("bob", 1, 10)]);
    stage.store(&[("bob", 2, 10)]);
    stage.store(&[("carol", 3, 10)]);
    stage.store(&[("bob", 4, 700)]);
    stage.store(&[("carol", 5, 10)]);
    // Too long, and to several: those sync.
    stage.store(&[("bob", 6, 9_000)]);
    stage.store(&[("bob", 7, 10)]);
    stage.store(&[("bob", 8, 10), ("carol", 9, 10)]);
    stage.store(&[("carol", 10, 600)]);
    stage.fetch("bob", true);
    let mut emptied = 0;
    for id in 11..24 {
        stage.store(&[(["bob", "carol"][usize::from(id) % 2], id, 500)]);
        // While a segment is emptied, the other is filled, and may be full.
        if id % 4 == 0 {
            emptied += usize::from(empty_full(&stage.spool));
        }
    }
    assert!(emptied >= 2, "both were: {emptied}");
    stage.fetch("carol", true);
    stage.store(&[("carol", 24, 10)]);
    // What was acknowledged is given back.
    stage.store(&[("carol", 25, 20_000)]);
    stage.fetch("carol", true);
    stage.store(&[("carol", 26, 10)]);
    let ops = operation_log::take();
    stage.spool.journal.set_own_log(None);
    (before, ops)
}

fn segments(disk: &Disk) -> Vec<u64> {
    let is_segment = |(path, _): &(&PathBuf, &u64)| {
        path.parent().and_then(Path::file_name) == Some(JOURNAL.as_ref())
    };
    let numbers = disk.names.iter().filter(is_segment);
    numbers.map(|(_, number)| *number).collect()
}

#[test]
fn every_crash_state_of_a_life_with_a_journal_keeps_the_promises() {
    let mut stage = Stage::new(4);
    let (before, ops) = life_with_a_journal(&mut stage);
    let journal = segments(&before);
    assert_eq!(journal.len(), 2);
    let waits = |op: &&Op| matches!(op, Op::Sync(number) if journal.contains(number));
    assert!(ops.iter().filter(waits).count() >= 15, "it was used");
    let states = try_all(&mut stage, &before, &ops, |_| false).expect("the promises hold");
    report("a life with a journal", states);
}

/// The negative controls: a journal that is not waited for, or emptied before the mailboxes are on the disk, is found out.
#[test]
fn a_journal_that_does_not_sync_is_found_out() {
    for of_the_journal in [true, false] {
        let mut stage = Stage::new(5);
        let (before, ops) = life_with_a_journal(&mut stage);
        let journal = segments(&before);
        let skip =
            |op: &Op| matches!(op, Op::Sync(number) if journal.contains(number) == of_the_journal);
        let broken = try_all(&mut stage, &before, &ops, skip).expect_err("broken");
        assert!(broken.contains("is lost"), "{of_the_journal}: {broken}");
    }
}
