//! What an operator sees of a daemon.

use std::path::Path;
use std::process::Output;

use super::{Daemon, program};

/// What `droplinectl` says of a daemon.
pub(crate) fn ctl(daemon: &Daemon, args: &[&str]) -> Output {
    program("droplinectl")
        .arg("--run-dir")
        .arg(daemon.path().join("run"))
        .args(args)
        .output()
        .expect("run")
}

/// All that is in a spool, a line a message, and what `droplinectl` has told of it.
pub(crate) fn exported(spool: &Path) -> (String, String) {
    let output = program("droplinectl")
        .arg("--spool")
        .arg(spool)
        .arg("export")
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (String::from_utf8(output.stdout).expect("text"), said)
}

/// The daemon's status.
pub(crate) fn status(daemon: &Daemon) -> serde_json::Value {
    let output = ctl(daemon, &["status", "--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// One of its counters.
pub(crate) fn counter(daemon: &Daemon, name: &str) -> u64 {
    status(daemon)["counters"][name]
        .as_u64()
        .expect("a counter")
}
