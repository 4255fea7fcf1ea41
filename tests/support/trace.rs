//! Runs strace(1) on a daemon.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Daemon;

/// Attaches strace to a daemon and to all processes that it forks from now on. The trace goes to `file`. `None` if
/// strace is not installed or not permitted to attach.
pub(crate) fn attach(daemon: &Daemon, options: &[&str], file: &Path) -> Option<Child> {
    attach_to(daemon.pid(), options, file)
}

/// Like [`attach`], for any process.
pub(crate) fn attach_to(pid: u32, options: &[&str], file: &Path) -> Option<Child> {
    let mut strace = Command::new("strace")
        .args(["-f", "-p", &pid.to_string(), "-o"])
        .arg(file)
        .args(options)
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut line = String::new();
    let mut stderr = BufReader::new(strace.stderr.take()?);
    stderr.read_line(&mut line).ok()?;
    // Drain the pipe: strace blocks when it is full.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    line.contains("attached").then_some(strace)
}
