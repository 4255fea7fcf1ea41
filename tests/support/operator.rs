//! Runs `droplinectl` and reads its output.

use std::path::Path;
use std::process::Output;

use super::{Daemon, program};

/// Runs `droplinectl` on a daemon.
pub(crate) fn ctl(daemon: &Daemon, args: &[&str]) -> Output {
    program("droplinectl")
        .arg("--run-dir")
        .arg(daemon.path().join("run"))
        .args(args)
        .output()
        .expect("run")
}

/// Runs `droplinectl` on the spool of a daemon.
pub(crate) fn operator_on(daemon: &Daemon, args: &[&str]) -> Output {
    let mut command = program("droplinectl");
    command.arg("--spool").arg(daemon.spool());
    command.args(args).output().expect("run")
}

/// Exports a spool. Returns the export, one line for each message, and standard error.
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

/// Returns the output of `droplinectl status --json`.
pub(crate) fn status(daemon: &Daemon) -> serde_json::Value {
    status_in(&daemon.path().join("run"))
}

/// Returns the same for the daemon that uses this run directory.
pub(crate) fn status_in(run_dir: &Path) -> serde_json::Value {
    let mut command = program("droplinectl");
    command.arg("--run-dir").arg(run_dir);
    let output = command.args(["status", "--json"]).output().expect("run");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Returns one of the counters in the daemon's status.
pub(crate) fn counter(daemon: &Daemon, name: &str) -> u64 {
    status(daemon)["counters"][name]
        .as_u64()
        .expect("a counter")
}
