//! Every crash state of a change of owner: no message is lost, appears twice, or reaches another owner.

use std::path::Path;

use tempfile::TempDir;

use super::super::handle::Spool;
use super::super::user_files::owner_place;
use super::disk::{Disk, Random};
use super::{fast_directory, for_each_state, n, report};
use crate::store::contract::{fetch, store};
use crate::store::{Care as _, Limits, Mail as _, Owner, RestoreTo, Survey as _, Users as _};
use crate::sys::operation_log::{self, Op};

const OLD: [&[u8]; 2] = [b"one", b"two"];
const LATER: &[u8] = b"later";

fn open(path: &Path) -> Spool {
    let limits = Limits {
        min_free_bytes: 0,
        min_free_inodes: 0,
        ..Limits::default()
    };
    Spool::open(path, limits).expect("a spool")
}

/// Makes a spool, prepares it, and records the file operations of `work`.
fn recorded(prepare: impl Fn(&Spool), work: impl Fn(&Spool)) -> (TempDir, Disk, Vec<Op>) {
    let dir = fast_directory();
    let path = dir.path().join("spool");
    let spool = open(&path);
    prepare(&spool);
    let before = Disk::read(&path);
    operation_log::start();
    work(&spool);
    let ops = operation_log::take();
    (dir, before, ops)
}

/// Calls `check` with a spool in each crash state. Skips operations that `ignored` picks. Returns the number of states.
///
/// # Errors
/// The first broken promise.
fn try_all(
    (dir, before, ops): &(TempDir, Disk, Vec<Op>),
    ignored: impl Fn(&Op) -> bool,
    check: impl Fn(&Spool) -> Result<(), String>,
) -> Result<usize, String> {
    let path = dir.path().join("spool");
    for_each_state(before, ops, &mut Random(7), ignored, |disk, _| {
        disk.lay_out(&path);
        check(&open(&path))
    })
}

/// Calls `check` with a spool in each crash state.
fn in_each_state(
    what: &str,
    recorded: &(TempDir, Disk, Vec<Op>),
    check: impl Fn(&Spool) -> Result<(), String>,
) {
    let states = try_all(recorded, |_| false, check);
    let states = states.unwrap_or_else(|broken| panic!("{what}: {broken}"));
    assert!(states > 20, "{what}: {states} states");
    report(what, states);
}

/// Returns the bodies that wait for bob, sorted.
fn waiting(spool: &Spool) -> Vec<Vec<u8>> {
    if spool.peek(&n("bob")).expect("readable").is_none() {
        return Vec::new();
    }
    let mut bodies: Vec<_> = fetch(spool, "bob", None)
        .into_iter()
        .map(|(_, body)| body)
        .collect();
    bodies.sort_unstable();
    bodies
}

fn set_aside(spool: &Spool) -> u64 {
    let all = spool.set_aside().expect("listed");
    all.iter().map(|set_aside| set_aside.waiting).sum()
}

fn claim(spool: &Spool, uid: u32) -> Owner {
    spool.claim(&n("bob"), Some(uid), 1).expect("claimed")
}

fn restore(spool: &Spool) {
    let restored = spool.restore_set_aside(&n("bob"), RestoreTo::FormerOwner);
    restored.expect("restored");
}

/// Stores the messages of the owner 7.
fn own_messages(spool: &Spool) {
    claim(spool, 7);
    for body in OLD {
        store(spool, "bob", body).expect("stored");
    }
}

fn release_and_restore() -> (TempDir, Disk, Vec<Op>) {
    recorded(own_messages, |spool| {
        spool.release(&n("bob")).expect("released");
        claim(spool, 7);
        restore(spool);
    })
}

/// Restores the messages, twice, and checks that each waits once.
fn each_waits_once(spool: &Spool) -> Result<(), String> {
    for _ in 0..2 {
        claim(spool, 7);
        restore(spool);
        let found = waiting(spool);
        if found != OLD {
            return Err(format!("{found:?} wait"));
        }
    }
    let left = set_aside(spool);
    let is_right = left == 0;
    is_right
        .then_some(())
        .ok_or(format!("{left} are set aside as well"))
}

#[test]
fn a_release_and_a_restore_keep_each_message_once() {
    in_each_state(
        "a release and a restore",
        &release_and_restore(),
        each_waits_once,
    );
}

/// Negative controls: a release or restore that skips a sync loses or repeats messages.
#[test]
fn a_missing_sync_of_a_change_of_owner_is_detected() {
    let recorded = release_and_restore();
    let released = recorded.0.path().join("spool/released");
    let skips: [&dyn Fn(&Op) -> bool; 2] = [
        &|op| matches!(op, Op::Sync(_)),
        &|op| matches!(op, Op::SyncDir(dir) if *dir == released),
    ];
    for skip in skips {
        let broken = try_all(&recorded, skip, each_waits_once).expect_err("broken");
        assert!(
            broken.contains(" wait") || broken.contains("set aside"),
            "{broken}"
        );
    }
}

#[test]
fn a_longer_owner_record_replaces_a_shorter_one_in_one_step() {
    let earlier = "owner 0000000007 00000000000001\n";
    let earlier = format!(
        "{earlier}checksum {:08x}\n",
        crc32fast::hash(earlier.as_bytes())
    );
    let dir = fast_directory();
    let path = dir.path().join("spool");
    let spool = open(&path);
    claim(&spool, 7);
    let record = path.join("user").join(&*owner_place(&n("bob")));
    std::fs::write(&record, earlier).expect("written");
    let before = Disk::read(&path);
    operation_log::start();
    assert!(spool.assign(&n("bob"), 8).expect("written"));
    drop(spool);
    let recorded = (dir, before, operation_log::take());
    let states = try_all(
        &recorded,
        |_| false,
        |spool| {
            let owner = spool.owner(&n("bob")).map_err(|e| e.to_string())?;
            let uid = owner.and_then(|owner| owner.uid);
            [Some(7), Some(8)]
                .contains(&uid)
                .then_some(())
                .ok_or(format!("{uid:?} is the owner"))
        },
    );
    assert!(states.expect("one of them") > 5);
}

#[test]
fn a_failed_operation_of_a_release_or_restore_loses_and_repeats_no_message() {
    for before in 0.. {
        let dir = fast_directory();
        let spool = open(&dir.path().join("spool"));
        own_messages(&spool);
        operation_log::fail_after(Some(before));
        let bob = n("bob");
        let failed = spool
            .release(&bob)
            .and_then(|_| spool.claim(&bob, Some(7), 1))
            .and_then(|_| spool.restore_set_aside(&bob, RestoreTo::FormerOwner))
            .is_err();
        let is_done = operation_log::is_failure_ahead();
        operation_log::fail_after(None);
        let kept = each_waits_once(&spool);
        assert!(kept.is_ok(), "operation {before}: {kept:?}");
        if is_done {
            assert!(before > 20 && !failed, "{before} operations");
            return;
        }
    }
}

#[test]
fn a_release_after_an_interruption_leaves_nothing_to_another_owner() {
    in_each_state("a repeated release", &release_and_restore(), |spool| {
        spool.release(&n("bob")).expect("released");
        claim(spool, 8);
        let (found, kept) = (waiting(spool), set_aside(spool));
        let is_right = found.is_empty() && kept == 2;
        is_right
            .then_some(())
            .ok_or(format!("{found:?} wait, {kept} are set aside"))
    });
}

#[test]
fn an_interrupted_claim_sets_aside_once() {
    let used = |spool: &Spool| {
        spool.register(&n("bob"), 1, &|| true).expect("registered");
        for body in OLD {
            store(spool, "bob", body).expect("stored");
        }
    };
    let claimed = recorded(used, |spool| {
        claim(spool, 7);
    });
    in_each_state("a claim", &claimed, |spool| {
        // A message arrives before the claim is repeated. If the earlier ones are set aside already, it is the owner's.
        let queue = spool.queue(&n("bob")).expect("readable");
        let is_empty = queue.is_none_or(|queue| queue.waiting == 0);
        store(spool, "bob", LATER).expect("stored");
        claim(spool, 7);
        let (found, kept) = (waiting(spool), set_aside(spool));
        let is_right = match is_empty {
            true => found == [LATER] && kept == 2,
            false => found.is_empty() && kept == 3,
        };
        if !is_right || spool.registered(&n("bob")).expect("readable").is_some() {
            return Err(format!("{found:?} wait, {kept} are set aside"));
        }
        Ok(())
    });
}
