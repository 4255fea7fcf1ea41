//! Every crash state of a change of registered names: the index lists those that are registered.

use super::super::handle::Spool;
use super::super::names;
use super::disk::{Disk, Random};
use super::{fast_directory, for_each_state, n, report};
use crate::name::Name;
use crate::store::{Limits, Users as _};
use crate::sys::operation_log::{self, Op};

fn listed(spool: &Spool) -> Vec<Name> {
    let mut all = Vec::new();
    let each = &mut |name: &Name, _| {
        all.push(name.clone());
        true
    };
    spool.registrations(None, each).expect("readable");
    all
}

fn registered(spool: &Spool) -> Vec<Name> {
    let mut all = spool.names().expect("readable");
    all.retain(|name| spool.registered(name).expect("readable").is_some());
    all
}

/// Checks each crash state of `work`. Skips operations that `ignored` picks.
fn try_all(work: impl Fn(&Spool), ignored: impl Fn(&Op) -> bool) -> Result<usize, String> {
    let dir = fast_directory();
    let path = dir.path().join("spool");
    let limits = Limits {
        min_free_bytes: 0,
        min_free_inodes: 0,
        ..Limits::default()
    };
    let spool = Spool::open(&path, limits).expect("a spool");
    for name in ["al", "di"] {
        assert!(spool.register(&n(name), 7, &|| true).expect("written"));
    }
    assert_eq!(listed(&spool).len(), 2);
    let before = Disk::read(&path);
    operation_log::start();
    work(&spool);
    let ops = operation_log::take();
    for_each_state(&before, &ops, &mut Random(7), ignored, |disk, _| {
        disk.lay_out(&path);
        let (index, files) = (listed(&spool), registered(&spool));
        match index == files {
            true => Ok(()),
            false => Err(format!("{index:?} are listed, {files:?} registered")),
        }
    })
}

fn changes(spool: &Spool) {
    assert!(spool.register(&n("bob"), 8, &|| true).expect("written"));
    assert!(spool.deregister(&n("al")).expect("removed"));
    assert!(spool.register(&n("cy"), 9, &|| true).expect("written"));
    spool.claim(&n("di"), Some(7), 1).expect("claimed");
}

#[test]
fn every_crash_state_of_a_change_lists_the_registered_names() {
    let states = try_all(changes, |_| false).unwrap_or_else(|broken| panic!("{broken}"));
    assert!(states > 20, "{states} states");
    report("changes of registered names", states);
    let merged = |spool: &Spool| {
        changes(spool);
        names::discard(spool).expect("removed");
        assert_eq!(listed(spool).len(), 2);
        assert!(spool.register(&n("ed"), 8, &|| true).expect("written"));
    };
    let states = try_all(merged, |_| false).unwrap_or_else(|broken| panic!("{broken}"));
    report("a merge of registered names", states);
}

/// A negative control: without syncs, a name is registered that the index does not have.
#[test]
fn a_change_without_syncs_is_not_listed_in_some_crash_state() {
    assert!(try_all(changes, |op| matches!(op, Op::Sync(_))).is_err());
}
