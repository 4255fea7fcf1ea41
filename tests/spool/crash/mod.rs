//! A simulated disk: checks the promises of the store in every state that a power cut could leave.
//!
//! The store runs on real files while each of its operations is recorded. The tests then enumerate the possible disk
//! states after each operation. Synced data is present. Each unsynced write may be present, absent or partial (by
//! sectors of 512 bytes), in any order, with or without the new file length, and each unsynced name present or absent.
//! Each state is written to files as a spool, and the store must work on it.

mod disk;
mod journaled;
mod names;
mod owners;
mod promises;
mod taken_over;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use self::disk::{Disk, Random, crash_states};
use self::journaled::SEGMENT;
use self::promises::verify;
use super::handle::Spool;
use super::journal::tests::empty_full;
use super::paths::place;
use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;
use crate::store::{Care, Delivery, Limits, Mail};
use crate::sys::operation_log::{self, Op};

/// An event that a client can observe.
#[derive(Clone, Debug)]
enum Seen {
    Submitted(Name, MessageId, Vec<u8>),
    Accepted(Name, MessageId, u64),
    Shown(Name, MessageId, u64),
    AckBegun(Name, u64),
    Acked(Name, u64),
}

/// A spool under test, and the events observed so far.
struct Stage {
    _dir: TempDir,
    path: PathBuf,
    spool: Spool,
    seen: Vec<Seen>,
    random: Random,
}

fn n(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

impl Stage {
    fn new(seed: u64) -> Self {
        let dir = fast_directory();
        let path = dir.path().join("spool");
        let limits = Limits {
            history_bytes: 20_000,
            history_millis: u64::MAX,
            min_free_bytes: 0,
            min_free_inodes: 0,
            ..Limits::default()
        };
        let spool = Spool::open(&path, limits).expect("a spool");
        Self {
            _dir: dir,
            path,
            spool,
            seen: Vec::new(),
            random: Random(seed),
        }
    }

    fn saw(&mut self, seen: Seen) {
        operation_log::note(self.seen.len());
        self.seen.push(seen);
    }

    fn store(&mut self, messages: &[(&str, u8, usize)]) {
        let from = n("al");
        let messages: Vec<_> = messages
            .iter()
            .map(|&(to, id, len)| (n(to), MessageId([id; 16]), vec![id; len]))
            .collect();
        for (to, id, body) in &messages {
            self.saw(Seen::Submitted(to.clone(), *id, body.clone()));
        }
        let batch: Vec<_> = messages
            .iter()
            .map(|(to, id, body)| Delivery {
                to,
                draft: Draft {
                    id: *id,
                    from: &from,
                    trust: Trust::Open,
                    at: 1,
                    expires: None,
                    once: true,
                    body,
                    fields: Fields::default(),
                },
            })
            .collect();
        let outcomes = self.spool.deliver(&batch);
        for ((to, id, _), outcome) in messages.iter().zip(outcomes) {
            let seq = outcome.expect("stored").seq;
            self.saw(Seen::Accepted(to.clone(), *id, seq));
        }
    }

    fn fetch(&mut self, of: &str, ack: bool) {
        let of = n(of);
        let spool = &self.spool;
        let mut lease = spool.fetch(&of).expect("fetched").expect("a mailbox");
        let mut shown = Vec::new();
        while let Some(message) = lease.next().expect("readable") {
            shown.push((message.id, message.seq));
        }
        let mut seen = Vec::new();
        for (id, seq) in &shown {
            seen.push(Seen::Shown(of.clone(), *id, *seq));
        }
        if let (true, Some((_, last))) = (ack, shown.last()) {
            seen.push(Seen::AckBegun(of.clone(), *last));
            for seen in seen.drain(..) {
                operation_log::note(self.seen.len());
                self.seen.push(seen);
            }
            lease.acknowledge(*last).expect("acknowledged");
            seen.push(Seen::Acked(of.clone(), *last));
        }
        drop(lease);
        seen.into_iter().for_each(|seen| self.saw(seen));
    }
}

/// Calls `check` with every crash state after every operation, and the number of notes before it. Skips operations that
/// `ignored` picks, as if they were never issued. Returns the number of states.
///
/// # Errors
/// The first broken promise.
fn for_each_state(
    durable: &Disk,
    ops: &[Op],
    random: &mut Random,
    ignored: impl Fn(&Op) -> bool,
    mut check: impl FnMut(&Disk, usize) -> Result<(), String>,
) -> Result<usize, String> {
    let mut durable = durable.clone();
    let mut pending: Vec<&Op> = Vec::new();
    let (mut states, mut notes) = (0, 0);
    for (step, op) in ops.iter().enumerate() {
        match op {
            op if ignored(op) => {}
            Op::Note(_) => notes += 1,
            Op::Sync(number) => settle(
                &mut durable,
                &mut pending,
                |op| matches!(op, Op::Write(n, ..) | Op::Truncate(n, _) | Op::Punch(n, ..) if n == number),
            ),
            Op::SyncDir(dir) => settle(
                &mut durable,
                &mut pending,
                |op| matches!(op, Op::MakeDir(path) | Op::Create(path, _) | Op::Rename(path, _) | Op::Remove(path) if path.parent() == Some(dir)),
            ),
            op => pending.push(op),
        }
        for disk in crash_states(&durable, &pending, random) {
            states += 1;
            check(&disk, notes).map_err(|broken| {
                format!(
                    "after operation {step}, {:.60}: {broken}",
                    format!("{op:?}")
                )
            })?;
        }
    }
    Ok(states)
}

/// Verifies in every crash state that the promises hold for all observed events. Returns the number of states.
///
/// # Errors
/// The first broken promise.
fn try_all(
    stage: &mut Stage,
    durable: &Disk,
    ops: &[Op],
    ignored: impl Fn(&Op) -> bool,
) -> Result<usize, String> {
    // Events before the recording count as observed in every state.
    let noted = ops.iter().filter(|op| matches!(op, Op::Note(_))).count();
    let before = stage.seen.len() - noted;
    let mut random = Random(stage.random.0);
    for_each_state(durable, ops, &mut random, ignored, |disk, notes| {
        disk.lay_out(&stage.path);
        verify(&stage.spool, &stage.seen[..before + notes])
    })
}

/// Makes the pending operations that `synced` picks durable.
fn settle(durable: &mut Disk, pending: &mut Vec<&Op>, synced: impl Fn(&Op) -> bool) {
    pending.retain(|op| {
        if synced(op) {
            durable.apply(op);
        }
        !synced(op)
    });
}

/// Creates a directory, in memory if possible, because thousands of states are written and synced.
fn fast_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    dir.expect("a directory")
}

/// Adds a line to the table that `scripts/test` prints at its end.
fn report(what: &str, states: usize) {
    use std::io::Write as _;
    if let Some(path) = std::env::var_os("DROPLINE_TEST_REPORT") {
        let file = fs::File::options().create(true).append(true).open(path);
        writeln!(
            file.expect("a report"),
            "crash states of {what}: {states}, lost: 0"
        )
        .expect("written");
    }
}

/// Sends, reads and acknowledges in all ways. Returns the file operations.
fn workload(stage: &mut Stage) -> Vec<Op> {
    operation_log::start();
    stage.store(&[("bob", 1, 10)]);
    stage.store(&[("bob", 2, 3_000)]);
    stage.store(&[("bob", 3, 10), ("carol", 4, 700), ("bob", 5, 1)]);
    stage.fetch("bob", false);
    stage.store(&[("bob", 3, 10)]);
    stage.fetch("bob", true);
    stage.store(&[("bob", 6, 9_000)]);
    stage.store(&[("carol", 7, 10)]);
    stage.fetch("carol", true);
    stage.store(&[("bob", 8, 20_000)]);
    // History exceeds its limit now: space is freed.
    stage.fetch("bob", true);
    stage.store(&[("bob", 9, 10)]);
    stage.fetch("bob", true);
    stage.spool.expire(&n("bob")).expect("expired");
    stage.store(&[("bob", 10, 10)]);
    operation_log::take()
}

/// Repairs a mailbox with a torn tail by an append, and then rewrites it.
fn repairs(stage: &mut Stage) -> (Disk, Vec<Op>) {
    let bob = n("bob");
    stage.store(&[("bob", 1, 10), ("bob", 2, 600), ("carol", 3, 10)]);
    let path = stage.path.join("mail").join(&*place(&bob));
    let mut torn = fs::read(&path).expect("readable");
    torn.extend_from_slice(&[0xaa; 1_000]);
    fs::write(&path, torn).expect("written");
    let before = Disk::read(&stage.path);
    operation_log::start();
    stage.store(&[("bob", 4, 10)]);
    stage.spool.repair(&bob).expect("repaired");
    stage.fetch("bob", true);
    stage.store(&[("bob", 5, 10)]);
    (before, operation_log::take())
}

#[test]
fn every_crash_state_of_a_workload_keeps_the_promises() {
    let mut stage = Stage::new(1);
    let before = Disk::read(&stage.path);
    let ops = workload(&mut stage);
    let states = try_all(&mut stage, &before, &ops, |_| false).expect("the promises hold");
    assert!(states > 400, "{states} states");
    report("a workload", states);
}

#[test]
fn every_crash_state_of_a_repair_keeps_the_promises() {
    let mut stage = Stage::new(2);
    let (before, ops) = repairs(&mut stage);
    let states = try_all(&mut stage, &before, &ops, |_| false).expect("the promises hold");
    report("a repair", states);
}

/// Negative controls: a store that skips a sync breaks the promises.
#[test]
fn a_missing_sync_is_detected() {
    for what in ["files", "directories", "the directory of the folders"] {
        let mut stage = Stage::new(3);
        let before = Disk::read(&stage.path);
        let ops = workload(&mut stage);
        let mail = stage.path.join("mail");
        let skip = |op: &Op| match op {
            Op::Sync(_) => what == "files",
            Op::SyncDir(dir) => match what {
                "directories" => *dir != mail,
                "the directory of the folders" => *dir == mail,
                _ => false,
            },
            _ => false,
        };
        let broken = try_all(&mut stage, &before, &ops, skip).expect_err(what);
        assert!(broken.contains("is lost"), "{what}: {broken}");
    }
}

/// Runs random workloads. `DROPLINE_TEST_LIVES` sets their number; `scripts/test --long` raises it.
#[test]
fn crash_states_of_random_workloads_keep_the_promises() {
    let workloads = std::env::var("DROPLINE_TEST_LIVES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2);
    let mut total = 0;
    for seed in 1..=workloads {
        let mut stage = Stage::new(seed);
        let with_journal = seed % 2 == 0;
        stage
            .spool
            .journal
            .set_own_log(with_journal.then_some(SEGMENT));
        let before = Disk::read(&stage.path);
        operation_log::start();
        let mut id = 0;
        for _ in 0..25 {
            let to = ["bob", "carol"][stage.random.below(2)];
            if stage.random.below(6) == 0 {
                empty_full(&stage.spool);
            }
            match stage.random.below(4) {
                0 if stage
                    .seen
                    .iter()
                    .any(|s| matches!(s, Seen::Accepted(of, ..) if of.as_str() == to)) =>
                {
                    let ack = stage.random.below(2) == 0;
                    stage.fetch(to, ack);
                }
                _ => {
                    id += 1;
                    let len = [1, 100, 600, 5_000, 15_000][stage.random.below(5)];
                    stage.store(&[(to, id, len)]);
                }
            }
        }
        let ops = operation_log::take();
        stage.spool.journal.set_own_log(None);
        let tried = try_all(&mut stage, &before, &ops, |_| false);
        total += tried.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
    report("random workloads", total);
}
