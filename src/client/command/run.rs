//! `dropline run`: runs a command, and reports its result to other users.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::send::Recipients;
use crate::client::submission::{self, Route, Submission, Submitter};
use crate::client::{duration, exit, thread, view};
use crate::sys::poll::{self, Want};
use crate::sys::process;
use crate::sys::signal::{SIGHUP, SIGINT, SIGTERM, Trap};

/// The command line of `run`.
#[derive(Debug, clap::Args)]
pub(in crate::client) struct Args {
    /// Recipient of the report, or several separated by commas
    #[arg(value_name = "NAME")]
    pub(super) to: Recipients,
    /// Command to run, and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(super) words: Vec<OsString>,
}

impl Args {
    /// Returns the first word of the command.
    pub(super) fn first_word(&self) -> Option<Cow<'_, str>> {
        self.words.first().map(|word| word.to_string_lossy())
    }
}

/// The maximum size of the output in the report, in bytes.
const TAIL_BYTES: usize = 4096;
/// The maximum number of output lines in the report.
const TAIL_LINES: usize = 10;
/// The maximum length of the command line in the report, in characters.
const MOST_NAME: usize = 200;
/// How long to wait, after the command has ended, for processes that still hold its output open.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// The result of a command.
#[derive(Debug)]
pub(super) struct Report {
    /// The message to send.
    text: Vec<u8>,
    /// The exit status, as a shell returns it.
    status: u8,
}

/// Runs a command, and shows its output as it arrives.
pub(super) fn run(words: &[OsString]) -> Report {
    let name = words.iter().map(|word| word.to_string_lossy());
    let name = name.collect::<Vec<_>>().join(" ");
    let name: String = name.chars().take(MOST_NAME).collect();
    let begun = Instant::now();
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let unshown = Arc::new(OnceLock::new());
    let ended = words.split_first().map_or_else(
        || Err(io::Error::from(io::ErrorKind::NotFound)),
        |(program, arguments)| {
            let mut child = Command::new(program)
                .args(arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let ended = pass_on(&child)?;
            let (done, all_done) = mpsc::channel();
            if let Some(from) = child.stdout.take() {
                show(from, view::write_bytes, &tail, &unshown, done.clone())?;
            }
            if let Some(from) = child.stderr.take() {
                show(from, view::write_error_bytes, &tail, &unshown, done.clone())?;
            }
            drop(done);
            let status = child.wait()?;
            ended.store(true, Ordering::SeqCst);
            // Wait for the end of both outputs, but at most LAST_OUTPUT: a background process may hold them open.
            let until = Instant::now() + LAST_OUTPUT;
            while let Err(mpsc::RecvTimeoutError::Timeout) | Ok(()) =
                all_done.recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                if Instant::now() >= until {
                    break;
                }
            }
            Ok(status)
        },
    );
    let (mut how, mut status) = match &ended {
        Ok(end) => (describe(*end), shell_status(*end)),
        Err(e) => {
            let text = format!("cannot be run: {e}");
            view::notice(&format!("dropline: {name}: {text}"));
            let status = if e.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            };
            (text, status)
        }
    };
    if let Some(why) = unshown.get() {
        let lost = format!("its output could not be written: {why}");
        view::notice(&format!("dropline: {name}: {lost}"));
        how = format!("{how}, but {lost}");
        if status == 0 {
            status = exit::CANNOT_WRITE;
        }
    }
    let took = duration::words(begun.elapsed());
    let mut text = format!("{name}: {how}, after {took}").into_bytes();
    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
    text.extend(last_lines(tail.make_contiguous()));
    Report { text, status }
}

/// Sends the report to each recipient, and prints errors. Returns the exit status of the command.
pub(super) fn tell(submitter: &Submitter<'_>, to: &Recipients, report: &Report) -> u8 {
    for name in &to.0 {
        match submitter.send(name, &report.text, Route::Instant, None) {
            Ok(Submission::Delivered(_)) => {}
            Ok(sent @ Submission::Queued(_)) => {
                view::notice(&format!("dropline: {}", submission::describe(name, &sent)));
            }
            Err(e) => view::error(&e),
        }
    }
    report.status
}

/// Forwards SIGTERM and SIGHUP to the command, so that its end is still reported. SIGINT is only caught: Ctrl-C reaches
/// the whole process group. The caller sets the returned flag when the command has ended. From then on, SIGTERM and
/// SIGHUP end this process.
fn pass_on(child: &Child) -> io::Result<Arc<AtomicBool>> {
    let trap = Trap::set(&[SIGINT, SIGTERM, SIGHUP])?;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let ended = Arc::new(AtomicBool::new(false));
    let has_ended = Arc::clone(&ended);
    let wait = move || {
        while poll::wait(&[(trap.fd(), Want::Read)], None).is_ok() {
            trap.drain();
            for (number, signal) in [(SIGTERM, Signal::SIGTERM), (SIGHUP, Signal::SIGHUP)] {
                let came = trap.came(number);
                if came && has_ended.load(Ordering::SeqCst) {
                    process::exit_now(128 + number);
                } else if came {
                    // ESRCH if the command has just ended.
                    let _ = kill(pid, signal);
                }
            }
        }
    };
    thread::spawn("signals", wait).map(|_| ended)
}

/// Starts a thread that copies `from` to the output `to`, and keeps the last bytes in `tail`.
fn show(
    mut from: impl Read + Send + 'static,
    to: fn(&[u8]) -> io::Result<()>,
    tail: &Arc<Mutex<VecDeque<u8>>>,
    unshown: &Arc<OnceLock<String>>,
    done: mpsc::Sender<()>,
) -> io::Result<()> {
    let (tail, unshown) = (Arc::clone(tail), Arc::clone(unshown));
    let copy = move || {
        let mut bytes = [0; 8192];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            // Keep reading after an error, so that the command can go on. Only the first error is reported.
            if let Err(e) = to(&bytes[..n]) {
                let _ = unshown.set(e.to_string());
            }
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.extend(&bytes[..n]);
            let surplus = tail.len().saturating_sub(TAIL_BYTES);
            tail.drain(..surplus);
        }
        // The receiver is gone if run() has stopped waiting.
        let _ = done.send(());
    };
    thread::spawn("output", copy).map(drop)
}

fn describe(end: ExitStatus) -> String {
    match (end.code(), end.signal()) {
        (Some(0), _) => "done".into(),
        (Some(code), _) => format!("failed with status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => "ended".into(),
    }
}

fn shell_status(end: ExitStatus) -> u8 {
    let status = end.code().or_else(|| Some(128 + end.signal()?));
    status
        .and_then(|status| u8::try_from(status).ok())
        .unwrap_or(u8::MAX)
}

/// Returns the last lines of the output, each preceded by a newline.
fn last_lines(output: &[u8]) -> Vec<u8> {
    let output = output.strip_suffix(b"\n").unwrap_or(output);
    if output.is_empty() {
        return Vec::new();
    }
    let lines: Vec<_> = output.split(|&b| b == b'\n').collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    lines[first..]
        .iter()
        .flat_map(|line| [b"\n", *line].concat())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_the_last_lines() {
        assert_eq!(last_lines(b""), b"");
        assert_eq!(last_lines(b"a\nb\n"), b"\na\nb");
        let many: String = (0..20).map(|n| format!("{n}\n")).collect();
        let last = last_lines(many.as_bytes());
        assert!(last.starts_with(b"\n10\n11") && last.ends_with(b"\n19"));
    }
}
