//! The log of a daemon without a terminal: syslog, over its Unix socket.
//!
//! The logger is that of the `syslog` crate. The transport here never blocks, and needs no connection, which a
//! sandboxed process could not make: each line names the path of the socket, so that a restarted syslogd gets the next
//! one. The formatter reads the pid for each line, because a child inherits the logger from its parent.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use log::{Level, Record};
use syslog::{Facility, LogFormat, Logger, Severity};

use super::text::{AUTH, OneLine, PACED_AUTH, word};
use crate::sys::process::Pid;

/// The longest line, in bytes. syslogd takes 8 KiB, but a person reads less.
const LONGEST: usize = 2_048;

/// The way to syslogd.
#[derive(Debug)]
pub(super) struct Syslog {
    transport: Mutex<LogSocket>,
    /// The number of lost lines that the log does not mention yet, while there is no scoreboard.
    early: AtomicU64,
    /// The same number on the scoreboard, for all processes of the daemon, and the number of all lost lines.
    shared: OnceLock<[&'static AtomicU64; 2]>,
}

impl Syslog {
    /// Sends to the socket at `path`. syslogd may start later.
    pub(super) fn open(path: &Path) -> Self {
        let open = || -> io::Result<UnixDatagram> {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let transport = LogSocket {
            path: path.to_owned(),
            socket: open().ok(),
        };
        Self {
            transport: Mutex::new(transport),
            early: AtomicU64::new(0),
            shared: OnceLock::new(),
        }
    }

    /// Counts lost lines in `shared` from now on. The next process that reaches syslogd reports those of all processes.
    pub(super) fn count_in(&self, shared: [&'static AtomicU64; 2]) {
        if self.shared.set(shared).is_ok() {
            self.lose(self.early.swap(0, Ordering::Relaxed));
        }
    }

    fn lost(&self) -> &AtomicU64 {
        self.shared.get().map_or(&self.early, |[lost, _]| lost)
    }

    fn lose(&self, lines: u64) {
        self.lost().fetch_add(lines, Ordering::Relaxed);
        if let Some([_, all]) = self.shared.get() {
            all.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Logs a record, or counts it as lost.
    pub(super) fn log(&self, record: &Record<'_>) {
        let Ok(mut transport) = self.transport.lock() else {
            return;
        };
        // Taken atomically, so that no other process reports the same lines.
        let lost = match self.lost().load(Ordering::Relaxed) {
            0 => 0,
            _ => self.lost().swap(0, Ordering::Relaxed),
        };
        if lost > 0 && !transport.say(Facility::LOG_DAEMON, Level::Warn, &lost_lines(lost)) {
            self.lost().fetch_add(lost, Ordering::Relaxed);
        }
        let facility = if [AUTH, PACED_AUTH].contains(&record.target()) {
            Facility::LOG_AUTH
        } else {
            Facility::LOG_DAEMON
        };
        let text = record.args().to_string();
        if !transport.say(facility, record.level(), &text) {
            self.lose(1);
        }
    }

    /// Returns the descriptor of the socket. A child must keep it open.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        let transport = self.transport.lock().ok()?;
        Some(transport.socket.as_ref()?.as_raw_fd())
    }
}

fn lost_lines(lost: u64) -> String {
    format!("{lost} lines of this log are lost: syslogd did not take them")
}

#[derive(Debug)]
struct LogSocket {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl LogSocket {
    /// Sends a line that begins with its level, and returns whether syslogd took it.
    fn say(&mut self, facility: Facility, level: Level, text: &str) -> bool {
        let mut logger = Logger::new(self, Formatter(facility));
        let text = format!("{}: {text}", word(level));
        match level {
            Level::Error => logger.err(&*text),
            Level::Warn => logger.warning(&*text),
            Level::Info => logger.info(&*text),
            Level::Debug | Level::Trace => logger.debug(&*text),
        }
        .is_ok()
    }
}

impl Write for &mut LogSocket {
    /// Sends one datagram. Fails if syslogd does not keep up or does not run: the daemon must not wait for it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let socket = self.socket.as_ref();
        socket
            .ok_or(io::ErrorKind::NotConnected)?
            .send_to(line, &self.path)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Formats a line as syslog(3) does (RFC 3164): `<PRIORITY>Nov 22 04:31:00 droplined[123]: text`.
struct Formatter(Facility);

impl LogFormat<&str> for Formatter {
    fn format<W: Write>(&self, w: &mut W, severity: Severity, text: &str) -> syslog::Result<()> {
        let priority = self.0 as u8 | severity as u8;
        let now = jiff::Zoned::now().strftime("%b %e %H:%M:%S");
        let mut line = format!("<{priority}>{now} droplined[{}]: ", Pid::own());
        // Writing to a string cannot fail.
        let _ = OneLine(&mut line).write_str(text);
        if line.len() > LONGEST {
            let most = (0..=LONGEST).rev().find(|at| line.is_char_boundary(*at));
            line.truncate(most.unwrap_or_default());
        }
        w.write_all(line.as_bytes()).map_err(syslog::Error::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(syslog: &Syslog, target: &str, level: Level, text: &str) {
        syslog.log(
            &Record::builder()
                .target(target)
                .level(level)
                .args(format_args!("{text}"))
                .build(),
        );
    }

    fn line(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 4_096];
        let n = socket.recv(&mut bytes).expect("a line");
        String::from_utf8(bytes[..n].to_vec()).expect("text")
    }

    #[test]
    fn a_line_is_one_datagram_and_syslogd_may_come_and_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let syslog = Syslog::open(&path);
        record(&syslog, "x", Level::Info, "not received");
        let listen = || UnixDatagram::bind(&path).expect("bound");
        let socket = listen();
        record(&syslog, "x", Level::Info, "hello");
        assert!(line(&socket).ends_with(&format!(": warning: {}", lost_lines(1))));
        let hello = line(&socket);
        let rest = hello.strip_prefix("<30>").expect("daemon.info");
        assert_eq!(
            rest.len() - " 00:00:00".len() - 6,
            format!(" droplined[{}]: info: hello", Pid::own()).len()
        );
        assert!(
            rest.ends_with(&format!(" droplined[{}]: info: hello", Pid::own())),
            "{rest}"
        );
        drop(socket);
        std::fs::remove_file(&path).expect("removed");
        let socket = listen();
        record(&syslog, AUTH, Level::Warn, "a\nforged line");
        let refused = line(&socket);
        assert!(
            refused.starts_with("<36>") && refused.ends_with("a\\nforged line"),
            "{refused}"
        );
        record(&syslog, "x", Level::Error, &"ü".repeat(2_000));
        let error = line(&socket);
        assert!(
            error.len() <= LONGEST && error.contains("]: error: ü"),
            "{error}"
        );
    }

    #[test]
    fn a_syslogd_that_does_not_read_blocks_no_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let socket = UnixDatagram::bind(&path).expect("bound");
        let syslog = Syslog::open(&path);
        for _ in 0..5_000 {
            record(&syslog, "x", Level::Info, "one of many");
        }
        let lost = syslog.lost().load(Ordering::Relaxed);
        assert!(lost > 0);
        while socket.set_nonblocking(true).is_ok() && socket.recv(&mut [0; 100]).is_ok() {}
        socket.set_nonblocking(false).expect("set");
        record(&syslog, "x", Level::Info, "after");
        assert!(line(&socket).ends_with(&lost_lines(lost)));
        assert!(line(&socket).ends_with("]: info: after"));
    }

    #[test]
    fn another_process_reports_lost_lines() {
        static SHARED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let (one, other) = (Syslog::open(&path), Syslog::open(&path));
        record(&one, "x", Level::Info, "before there is a scoreboard");
        for syslog in [&one, &other] {
            syslog.count_in([&SHARED[0], &SHARED[1]]);
        }
        record(&one, "x", Level::Info, "lost");
        let socket = UnixDatagram::bind(&path).expect("bound");
        record(&other, "x", Level::Info, "hello");
        assert!(line(&socket).ends_with(&lost_lines(2)));
        assert!(line(&socket).ends_with("]: info: hello"));
        record(&one, "x", Level::Info, "once");
        assert!(line(&socket).ends_with("]: info: once"));
        assert_eq!(SHARED[1].load(Ordering::Relaxed), 2);
    }
}
