//! Tests of what is specific to the spool. The promises of every engine are in `tests/store_contract`.

mod bounded;
mod damage;
mod names;
mod opening;
mod owners;
mod restore;
mod space;

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::handle::Spool;
use super::paths::place;
use crate::message::{Draft, Fields, MessageId, Trust};
use crate::name::Name;
use crate::store::contract::{self, Subject, fetch, n, store_once};
use crate::store::{
    Care as _, Delivery, Engine, Limits, Mail as _, Presence as _, StoreError, Survey as _,
    Users as _,
};

contract::hold!(Fixture);

/// A spool with a run directory, as a daemon opens it.
struct Fixture {
    dir: TempDir,
    spool: Spool,
}

impl Subject for Fixture {
    fn with_limits(limits: Limits) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = open(dir.path(), limits);
        Self { dir, spool }
    }

    fn engine(&self) -> &(dyn Engine + Sync) {
        &self.spool
    }

    fn beside(&self) -> Box<dyn Engine> {
        Box::new(self.look())
    }

    fn reopened(self, limits: Limits) -> Self {
        let Self { dir, spool } = self;
        drop(spool);
        let spool = open(dir.path(), limits);
        Self { dir, spool }
    }
}

fn open(dir: &Path, limits: Limits) -> Spool {
    let run = dir.join("run");
    std::fs::create_dir_all(&run).expect("made");
    let spool = Spool::open(&dir.join("spool"), limits).expect("a spool");
    spool.with_run_dir(&run).expect("a run directory")
}

impl Fixture {
    fn path(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    fn mailbox(&self, name: &str) -> PathBuf {
        self.path().join("mail").join(&*place(&n(name)))
    }

    /// Opens the same spool again, as another process without cached state would.
    fn look(&self) -> Spool {
        let looked = Spool::look_at(&self.path(), Limits::default());
        looked.expect("the same spool").0
    }

    fn store(&self, to: &str, body: &[u8]) -> u64 {
        store(&self.spool, to, body, None).expect("stored")
    }

    /// Returns the number and body of each message that waits for `of`. Acknowledges up to `ack`.
    fn fetch(&self, of: &str, ack: Option<u64>) -> Vec<(u64, Vec<u8>)> {
        fetch(&self.spool, of, ack)
    }
}

fn store(spool: &Spool, to: &str, body: &[u8], expires: Option<u64>) -> Result<u64, StoreError> {
    contract::store_until(spool, to, body, expires)
}

/// Number, sender and body.
type Message = (u64, Name, Vec<u8>);

/// The contents of a spool.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The name of each mailbox, the last acknowledged number, and the messages.
    mailboxes: Vec<(Name, u64, Vec<Message>)>,
    users: Vec<Name>,
    claims: Vec<Name>,
}

impl Contents {
    pub(super) fn of(spool: &Spool) -> Self {
        let mailboxes = spool.mailboxes().expect("listed").into_iter().map(|name| {
            let mut messages = Vec::new();
            let acked = spool.messages(&name, &mut |message, _| {
                messages.push((message.seq, message.from.clone(), message.body.to_vec()));
                true
            });
            (
                name,
                acked.expect("readable").map_or(0, |state| state.acked),
                messages,
            )
        });
        let claims = spool.claims().expect("readable").into_iter();
        Self {
            mailboxes: mailboxes.collect(),
            users: spool.names().expect("readable"),
            claims: claims.map(|(name, _)| name).collect(),
        }
    }
}

/// Unpacks a spool of format 1, left by a killed daemon, into `dir` with extra tar(1) arguments. Returns its path.
pub(super) fn unpack_format_1(dir: &Path, arguments: &[&str]) -> PathBuf {
    let archive = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/spool-format-1.tar.gz"
    );
    let tar = Command::new("tar")
        .args(["-xzf", archive, "--no-same-owner", "-p"])
        .args(arguments)
        .arg("-C")
        .arg(dir)
        .status();
    assert!(tar.expect("tar(1)").success());
    dir.join("spool")
}

fn names_below(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let name = |e: std::io::Result<std::fs::DirEntry>| e.expect("an entry").file_name();
    entries
        .map(|e| name(e).to_string_lossy().into_owned())
        .collect()
}

/// Returns the length of a mailbox up to the end of its records.
fn len(path: &Path) -> usize {
    records(path).len()
}

/// Returns the bytes of a mailbox without the zeros behind its records.
fn records(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).expect("a mailbox");
    let last = bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .expect("something");
    bytes.truncate((last + 1).next_multiple_of(8));
    bytes
}
