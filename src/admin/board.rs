//! `droplinectl status`, `top` and `metrics`: the activity of the daemon, from its scoreboard.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::failure::Failure;
use crate::sys::board::Board;
use crate::sys::clock::unix_millis;
use crate::sys::dir::Dir;
use crate::sys::lock::Locked;
use crate::sys::login;

/// The counters that also fall.
const IN_USE: [&str; 4] = ["open_mailboxes", "open_bytes", "open_names", "open_leases"];

/// A child, as it is shown.
#[derive(Debug, Serialize)]
struct ChildRow {
    pid: u64,
    since: u64,
    from: String,
    doing: String,
}

/// A snapshot of the scoreboard.
#[derive(Debug, Serialize)]
struct Status {
    pid: u64,
    since: u64,
    children: Vec<ChildRow>,
    counters: serde_json::Map<String, serde_json::Value>,
}

/// Maps the scoreboard of the daemon that uses this run directory.
///
/// # Errors
/// When no daemon runs there, or its scoreboard cannot be read.
fn open(run_dir: &Path) -> Result<Board, Failure> {
    let not_running = || Failure::NotRunning(run_dir.to_owned());
    let path = run_dir.join("scoreboard");
    let unreadable = |e: io::Error| match e.kind() {
        io::ErrorKind::PermissionDenied => Failure::NotForYou(path.clone(), who_may_read(&path)),
        _ => Failure::Scoreboard(path.clone(), e),
    };
    let dir = match Dir::open(run_dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(not_running()),
        dir => dir.map_err(unreadable)?,
    };
    // A killed daemon leaves its files, but not its lock. If the pid file is not readable, rely on the scoreboard.
    if let Ok(Some(pid_file)) = dir.file("droplined.pid")
        && let Ok(Ok(_)) = Locked::attempt(pid_file)
    {
        return Err(not_running());
    }
    let file = dir.file("scoreboard").map_err(unreadable)?;
    Board::look_at(&file.ok_or_else(not_running)?).map_err(unreadable)
}

/// Returns who may read the scoreboard, and what a user can do who may not.
fn who_may_read(path: &Path) -> String {
    let shared = std::fs::metadata(path).ok();
    let shared = shared.filter(|meta| meta.mode() & 0o040 != 0);
    match shared.and_then(|meta| login::group_name(meta.gid())) {
        Some(group) => format!(
            "only root and members of the group {group} may; use root, or join it (`adduser USER {group}`)"
        ),
        None => "only root and the user of the daemon may".into(),
    }
}

impl Status {
    /// Reads the scoreboard.
    fn read(board: Board) -> Self {
        let slots = (0..board.slots()).filter_map(|index| board.slot(index).read());
        let children = slots.map(|seen| ChildRow {
            pid: seen.pid,
            since: seen.since,
            from: seen.peer,
            doing: seen.doing,
        });
        let counters = board.counters().into_iter();
        Self {
            pid: board.pid(),
            since: board.since(),
            children: children.collect(),
            counters: counters.map(|(name, value)| (name, value.into())).collect(),
        }
    }

    fn counter(&self, name: &str) -> u64 {
        let value = self.counters.get(name);
        value.and_then(serde_json::Value::as_u64).unwrap_or(0)
    }

    /// Formats the snapshot for people, with at most `most` children.
    fn text(&self, most: usize) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "droplined {}, up {}, {} connections now",
            self.pid,
            span(unix_millis().saturating_sub(self.since)),
            self.children.len()
        );
        let _ = writeln!(
            out,
            "messages: {} stored ({} bytes), {} delivered",
            self.counter("stored"),
            self.counter("stored_bytes"),
            self.counter("delivered")
        );
        let groups = [
            (
                "connections",
                &["connections", "line", "framed", "sessions"][..],
            ),
            (
                "refused",
                &[
                    "refused",
                    "refused_source",
                    "refused_early",
                    "refused_penalty",
                    "refused_budget",
                    "refused_strangers",
                    "refused_socket",
                ],
            ),
            (
                "evicted",
                &[
                    "evicted_silent",
                    "evicted_socket",
                    "evicted_slow",
                    "evicted_waiting",
                ],
            ),
            ("in use by TCP clients", &IN_USE),
            (
                "trouble",
                &["timeouts", "garbage", "failed", "crashes", "shortages"],
            ),
        ];
        for (what, names) in groups {
            let values = names
                .iter()
                .map(|name| format!("{name} {}", self.counter(name)));
            let _ = writeln!(out, "{what}: {}", values.collect::<Vec<_>>().join(", "));
        }
        if !self.children.is_empty() && most > 0 {
            let _ = writeln!(out, "\n{:>8} {:>9}  {:<24} DOING", "PID", "FOR", "FROM");
        }
        for child in self.children.iter().take(most) {
            let age = span(unix_millis().saturating_sub(child.since));
            let _ = writeln!(
                out,
                "{:>8} {age:>9}  {:<24} {}",
                child.pid, child.from, child.doing
            );
        }
        if let Some(more) = self
            .children
            .len()
            .checked_sub(most)
            .filter(|more| *more > 0)
        {
            let _ = writeln!(out, "... and {more} more");
        }
        out
    }
}

/// Formats a duration.
fn span(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..60 => format!("{}.{} s", seconds, millis % 1_000 / 100),
        60..86_400 => format!(
            "{}:{:02}:{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        ),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Runs `droplinectl status`.
pub(super) fn status(run_dir: &Path, json: bool) -> Result<(), Failure> {
    let status = Status::read(open(run_dir)?);
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &status).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
    } else {
        out.write_all(status.text(usize::MAX).as_bytes())?;
    }
    Ok(out.flush()?)
}

/// Runs `droplinectl top`: prints the status every second, `times` times or until interrupted.
pub(super) fn top(run_dir: &Path, times: Option<u64>) -> Result<(), Failure> {
    let mut out = io::stdout();
    let is_terminal = out.is_terminal();
    let mut left = times.unwrap_or(if is_terminal { u64::MAX } else { 1 });
    let mut before: Option<Status> = None;
    while left > 0 {
        left -= 1;
        let status = Status::read(open(run_dir)?);
        let mut text = status.text(if is_terminal { 40 } else { usize::MAX });
        if let Some(before) = &before {
            let per = |name| status.counter(name).saturating_sub(before.counter(name));
            let _ = write!(
                text,
                "\nper second: {} connections, {} stored, {} delivered\n",
                per("connections"),
                per("stored"),
                per("delivered")
            );
        }
        if is_terminal {
            // Move to the top left, clear each line to its end, and clear the rest of the screen.
            text = format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"));
        }
        out.write_all(text.as_bytes())?;
        out.flush()?;
        before = Some(status);
        if left > 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    Ok(())
}

/// Runs `droplinectl metrics`: prints the Prometheus text format. Without a daemon, `dropline_up` is 0.
pub(super) fn metrics(run_dir: &Path) -> Result<(), Failure> {
    let mut text =
        String::from("# HELP dropline_up Whether the daemon runs.\n# TYPE dropline_up gauge\n");
    match open(run_dir) {
        Err(Failure::NotRunning(_)) => text.push_str("dropline_up 0\n"),
        Err(e) => return Err(e),
        Ok(board) => {
            let status = Status::read(board);
            let _ = write!(
                text,
                "dropline_up 1\n\
                 # HELP dropline_start_time_seconds When the daemon was started.\n\
                 # TYPE dropline_start_time_seconds gauge\n\
                 dropline_start_time_seconds {}.{:03}\n\
                 # HELP dropline_children Connections that are served now.\n\
                 # TYPE dropline_children gauge\n\
                 dropline_children {}\n",
                status.since / 1_000,
                status.since % 1_000,
                status.children.len()
            );
            for name in IN_USE {
                let _ = write!(
                    text,
                    "# HELP dropline_{name} What TCP clients use now, all together; see droplined.toml(5).\n\
                     # TYPE dropline_{name} gauge\n\
                     dropline_{name} {}\n",
                    status.counter(name)
                );
            }
            let only_rise =
                |(name, _): &(&String, &serde_json::Value)| !IN_USE.contains(&name.as_str());
            for (name, value) in status.counters.iter().filter(only_rise) {
                let _ = write!(
                    text,
                    "# HELP dropline_{name}_total Since the daemon was started; see droplinectl(8).\n\
                     # TYPE dropline_{name}_total counter\n\
                     dropline_{name}_total {value}\n"
                );
            }
        }
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (millis, text) in [
            (0, "0.0 s"),
            (59_940, "59.9 s"),
            (3_723_000, "1:02:03"),
            (90_000_000, "1 d 01 h"),
        ] {
            assert_eq!(span(millis), text);
        }
    }
}
