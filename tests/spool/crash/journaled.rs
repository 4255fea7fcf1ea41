//! Every crash state of a workload that uses the journal.

use std::path::{Path, PathBuf};

use super::super::journal::tests::empty_full;
use super::super::paths::JOURNAL;
use super::{Disk, Stage, report, try_all};
use crate::sys::operation_log::{self, Op};

/// Size of a segment in bytes. A few messages fill it.
pub(super) const SEGMENT: u64 = 4_096;

/// Sends and reads messages. Each message that can use the journal is durable only there at first.
fn workload(stage: &mut Stage) -> (Disk, Vec<Op>) {
    stage.spool.journal.set_own_log(Some(SEGMENT));
    let before = Disk::read(&stage.path);
    operation_log::start();
    // The first message creates the mailbox, so it does not use the journal.
    stage.store(&[("bob", 1, 10)]);
    stage.store(&[("bob", 2, 10)]);
    stage.store(&[("carol", 3, 10)]);
    stage.store(&[("bob", 4, 700)]);
    stage.store(&[("carol", 5, 10)]);
    // A message too long for a segment, and later a batch to several mailboxes, sync their mailboxes.
    stage.store(&[("bob", 6, 9_000)]);
    stage.store(&[("bob", 7, 10)]);
    stage.store(&[("bob", 8, 10), ("carol", 9, 10)]);
    stage.store(&[("carol", 10, 600)]);
    stage.fetch("bob", true);
    let mut emptied = 0;
    for id in 11..24 {
        stage.store(&[(["bob", "carol"][usize::from(id) % 2], id, 500)]);
        // While one segment is emptied, the other is filled, and may become full.
        if id % 4 == 0 {
            emptied += usize::from(empty_full(&stage.spool));
        }
    }
    assert!(emptied >= 2, "segments emptied: {emptied}");
    stage.fetch("carol", true);
    stage.store(&[("carol", 24, 10)]);
    // The space of acknowledged messages is freed.
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
fn every_crash_state_with_a_journal_keeps_the_promises() {
    let mut stage = Stage::new(4);
    let (before, ops) = workload(&mut stage);
    let journal = segments(&before);
    assert_eq!(journal.len(), 2);
    let waits = |op: &&Op| matches!(op, Op::Sync(number) if journal.contains(number));
    assert!(ops.iter().filter(waits).count() >= 15, "it was used");
    let states = try_all(&mut stage, &before, &ops, |_| false).expect("the promises hold");
    report("a workload with a journal", states);
}

/// Negative controls: a journal that is not synced, or is emptied before the mailboxes are synced, breaks the promises.
#[test]
fn a_missing_sync_with_a_journal_is_detected() {
    for of_the_journal in [true, false] {
        let mut stage = Stage::new(5);
        let (before, ops) = workload(&mut stage);
        let journal = segments(&before);
        let skip =
            |op: &Op| matches!(op, Op::Sync(number) if journal.contains(number) == of_the_journal);
        let broken = try_all(&mut stage, &before, &ops, skip).expect_err("broken");
        assert!(broken.contains("is lost"), "{of_the_journal}: {broken}");
    }
}
