//! strace on a daemon.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Daemon;

/// strace on a daemon and all that it forks from now on, with these options; what it sees goes to `file`. `None` where
/// it is not installed, or may not.
pub(crate) fn attach(daemon: &Daemon, options: &[&str], file: &Path) -> Option<Child> {
    attach_to(daemon.pid(), options, file)
}

/// The same on the process with this number.
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
    // Somebody has to read the rest, so that strace does not wait for us.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    line.contains("attached").then_some(strace)
}
