//! What an operator sees of a daemon.

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
