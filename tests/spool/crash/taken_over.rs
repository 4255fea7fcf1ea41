//! Every crash state of opening a spool: of creating it, and of upgrading format 1.

use std::path::Path;

use super::super::handle::Spool;
use super::super::tests::{Contents, unpack_format_1};
use super::disk::{Disk, Random};
use super::{fast_directory, for_each_state, report};
use crate::store::{Limits, StoreError};
use crate::sys::operation_log::{self, Op};

/// Opens a spool without lookups of logins.
fn open(path: &Path) -> Result<Spool, StoreError> {
    Spool::open_with(path, Limits::default(), &|_| false)
}

/// Opens the spool at `path`. Returns the file operations.
fn opening(path: &Path) -> Vec<Op> {
    operation_log::start();
    drop(open(path).expect("opened"));
    operation_log::take()
}

/// Opens the spool in each crash state and compares its contents. Returns the number of states.
fn try_all(path: &Path, before: &Disk, ops: &[Op], expected: &Contents) -> usize {
    let states = for_each_state(
        before,
        ops,
        &mut Random(7),
        |_| false,
        |disk, _| {
            disk.lay_out(path);
            let spool = open(path).map_err(|e| e.to_string())?;
            let found = Contents::of(&spool);
            if found == *expected {
                Ok(())
            } else {
                Err(format!("{found:?} in place of {expected:?}"))
            }
        },
    );
    states.expect("each can be opened")
}

#[test]
fn every_crash_state_of_creating_a_spool_can_be_opened() {
    let dir = fast_directory();
    let path = dir.path().join("spool");
    std::fs::create_dir(&path).expect("made");
    let before = Disk::read(&path);
    let ops = opening(&path);
    assert!(ops.contains(&Op::MakeDir(path.join("mail"))));
    let states = try_all(&path, &before, &ops, &Contents::default());
    report("creating a spool", states);
}

#[test]
fn every_crash_state_of_upgrading_format_1_has_all_messages() {
    let dir = fast_directory();
    // Leave out lock files and empty folders: they hold nothing, and there are many.
    let path = unpack_format_1(dir.path(), &["--exclude=spool/lock/*"]);
    for folders in ["mail", "user"] {
        for folder in std::fs::read_dir(path.join(folders)).expect("a directory") {
            // Fails for a folder that is not empty.
            let _ = std::fs::remove_dir(folder.expect("an entry").path());
        }
    }
    let before = Disk::read(&path);
    let ops = opening(&path);
    let expected = Contents::of(&open(&path).expect("opened"));
    let states = try_all(&path, &before, &ops, &expected);
    assert!(states > 20, "{states}");
    report("upgrading a spool of format 1", states);
}
