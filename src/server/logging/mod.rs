//! The log: one line for each event, written with one call to standard error or to syslog.

mod repeats;
mod syslog;
mod text;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

pub(super) use self::repeats::SHARED_WORDS;
use self::repeats::{LeftOut, Repeats};
use self::syslog::Syslog;
pub(super) use self::text::{AUTH, PACED, PACED_AUTH};
use self::text::{OneLine, word};
use crate::sys::clock::boot_millis;
use crate::sys::file;
use crate::sys::heap;
use crate::sys::process::Pid;
use crate::sys::stdio;

struct Sink;

/// Set when the log goes to syslog.
static SYSLOG: OnceLock<Box<Syslog>> = OnceLock::new();

/// Standard error, opened again so that writes do not block. If that fails, as for a socket, the inherited one is used.
static OWN: OnceLock<Box<Mutex<Option<File>>>> = OnceLock::new();

/// Set when errors and warnings that repeat are left out.
static REPEATS: OnceLock<Repeats> = OnceLock::new();

/// The initial capacity of a line, in bytes.
const USUAL_LINE: usize = 160;

impl Log for Sink {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let repeats = REPEATS.get().filter(|_| {
            record.level() <= Level::Warn && ![PACED, PACED_AUTH].contains(&record.target())
        });
        let admitted = repeats.map(|repeats| repeats.admit(record, now()));
        match admitted.unwrap_or(Some(0)) {
            Some(0) => write_line(record),
            Some(n) => {
                let (target, text) = (record.target(), record.args());
                let text = format_args!("{text} (and {n} times since the last such line)");
                write_line(&line(record.level(), target, text));
            }
            None => {}
        }
    }

    fn flush(&self) {}
}

/// Writes a line.
fn write_line(record: &Record<'_>) {
    if let Some(syslog) = SYSLOG.get() {
        return syslog.log(record);
    }
    let level = word(record.level());
    // Children log as well, so the pid is not cached.
    let now = jiff::Timestamp::now();
    let mut line = String::with_capacity(USUAL_LINE);
    // Writing to a string cannot fail.
    let _ = write!(line, "{now:.3} droplined[{}]: {level}: ", Pid::own());
    let _ = write!(OneLine(&mut line), "{}", record.args());
    line.push('\n');
    // If standard error is closed or not read, the line is lost: the daemon must not block.
    let _ = match own().as_mut() {
        Some(own) => own.write_all(line.as_bytes()),
        None => stdio::write_to_standard_error(line.as_bytes()),
    };
}

/// Returns the time for [`Repeats`].
fn now() -> u64 {
    boot_millis().max(1)
}

/// Leaves out errors and warnings that repeat, in this process and those that it forks from now on. They share `words`,
/// which are [`SHARED_WORDS`] zeros.
pub(super) fn leave_out_repeats(words: &'static [AtomicU64]) {
    // A second call changes nothing.
    let _ = REPEATS.set(Repeats::new(words));
}

/// Reports the lines that were left out and whose second is over, or all of them. Returns when to call this again. For
/// the master, whose children end after they have logged.
pub(super) fn report_repeats(all: bool) -> Option<Duration> {
    let (left_out, again) = REPEATS.get()?.take(now(), all);
    for LeftOut { level, count, text } in left_out {
        let lines = if count == 1 { "line" } else { "lines" };
        let text = format_args!("{count} more {lines} like this one: {text}");
        write_line(&line(level, module_path!(), text));
    }
    again
}

fn line<'a>(level: Level, target: &'a str, text: std::fmt::Arguments<'a>) -> Record<'a> {
    let mut record = Record::builder();
    record.level(level).target(target).args(text).build()
}

/// Logs to standard error from now on. With `verbose`, debug messages are logged as well.
pub(super) fn to_standard_error(verbose: bool) {
    *own() = file::standard_error_without_blocking().ok();
    // This fails if a logger is set already, which can only be this one.
    let _ = log::set_logger(&Sink);
    log::set_max_level(if verbose {
        LevelFilter::Debug
    } else {
        LevelFilter::Info
    });
}

fn own() -> std::sync::MutexGuard<'static, Option<File>> {
    // Locking writes to the mutex: keep it on a page that each child writes to in any case.
    let own = OWN.get_or_init(|| heap::for_children(Box::default));
    own.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes the standard error that this process was started with, so that a detached daemon holds no terminal open.
pub(super) fn leave_standard_error() {
    *own() = None;
}

/// Logs to syslog, whose socket is at `path`, from now on.
pub(super) fn to_syslog(path: &Path) {
    // A second call changes nothing.
    let _ = SYSLOG.set(heap::for_children(|| Box::new(Syslog::open(path))));
    // Look up the time zone here, so that the children need not.
    std::hint::black_box(jiff::Zoned::now());
}

/// Counts lines that syslogd does not take in `shared` from now on: those that the log does not mention yet, and all.
pub(super) fn count_lost_lines_in(shared: [&'static AtomicU64; 2]) {
    if let Some(syslog) = SYSLOG.get() {
        syslog.count_in(shared);
    }
}

/// Returns the descriptor that the log is written to. A child must keep it open.
pub(super) fn descriptor() -> RawFd {
    if let Some(descriptor) = SYSLOG.get().and_then(|syslog| syslog.descriptor()) {
        return descriptor;
    }
    own()
        .as_ref()
        .map_or(nix::libc::STDERR_FILENO, |own| own.as_raw_fd())
}

/// Limits a warning to one line in ten seconds. Its target is therefore [`PACED`] or [`PACED_AUTH`].
#[derive(Debug, Default)]
pub(super) struct AtMostOften {
    last: Option<Instant>,
    unsaid: u64,
}

impl AtMostOften {
    const SPAN: Duration = Duration::from_secs(10);

    /// Logs `text` as a warning to `target`, or counts it if a warning was logged in the last ten seconds.
    pub(super) fn warn(&mut self, target: &str, text: std::fmt::Arguments<'_>) {
        if self.last.is_some_and(|last| last.elapsed() < Self::SPAN) {
            self.unsaid += 1;
            return;
        }
        match self.unsaid {
            0 => log::warn!(target: target, "{text}"),
            n => log::warn!(target: target, "{text} (and {n} times since the last such line)"),
        }
        *self = Self {
            last: Some(Instant::now()),
            unsaid: 0,
        };
    }
}
