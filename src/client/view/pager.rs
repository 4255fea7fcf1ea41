//! Shows text through a pager if it is longer than the screen.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use unicode_width::UnicodeWidthStr as _;

use crate::sys::signal::let_all_through;
use crate::sys::terminal;

/// Interval at which the pager's exit is polled.
const LOOK: Duration = Duration::from_millis(10);
/// How long a pager may take to restore the terminal and exit.
pub(in crate::client) const LAST_PAGE: Duration = Duration::from_secs(1);

/// The running pager.
static OPEN: Mutex<Option<Child>> = Mutex::new(None);
/// The socket on which its process id is reported.
static TOLD: Mutex<Option<UnixStream>> = Mutex::new(None);

/// Reports the pager's process id to `whom` at each change, as four bytes in native byte order; 0 means no pager.
pub(in crate::client) fn tell(whom: UnixStream) {
    *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = Some(whom);
}

fn tell_number(number: u32) {
    if let Some(whom) = &mut *TOLD.lock().unwrap_or_else(PoisonError::into_inner) {
        // If this fails, the pager outlives a menu that is killed.
        let _ = whom.write_all(&number.to_ne_bytes());
    }
}

/// Shows text on the terminal, through $PAGER if it is longer than the screen.
///
/// # Errors
/// The terminal is gone.
pub(in crate::client) fn page(text: &[u8]) -> io::Result<()> {
    let size = terminal::size();
    if !is_longer(&String::from_utf8_lossy(text), size.rows, size.columns) || !through_pager(text) {
        super::write_bytes(text)?;
    }
    Ok(())
}

/// Returns whether `text` and one more line do not fit the screen.
fn is_longer(text: &str, rows: usize, columns: usize) -> bool {
    let needed = text
        .lines()
        .map(|line| line.width().div_ceil(columns.max(1)).max(1));
    needed.sum::<usize>() >= rows
}

/// Returns whether a pager was started and exited with status 0.
fn through_pager(text: &[u8]) -> bool {
    let pager = std::env::var("PAGER").unwrap_or_default();
    let pager = if pager.trim().is_empty() {
        "less"
    } else {
        &pager
    };
    let Some((program, arguments)) = shlex::split(pager).and_then(|words| {
        let (program, arguments) = words.split_first()?;
        Some((program.clone(), arguments.to_vec()))
    }) else {
        return false;
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        // less(1) must not run commands or write files while it shows untrusted text.
        .env("LESSSECURE", "1")
        .stdin(Stdio::piped());
    // The menu blocks SIGWINCH for its editor; the pager must receive it.
    let_all_through(&mut command);
    let Ok(mut child) = command.spawn() else {
        return false;
    };
    tell_number(child.id());
    let input = child.stdin.take();
    *open() = Some(child);
    if let Some(mut input) = input {
        // This fails if the user leaves the pager early.
        let _ = input.write_all(&plain(text));
    }
    loop {
        // Reap the pager only under the lock, so that `end` never signals a reused process id.
        let mut open = open();
        let ended = open.as_mut().map_or(Ok(None), Child::try_wait);
        if !matches!(ended, Ok(None)) || open.is_none() {
            *open = None;
            tell_number(0);
            return matches!(ended, Ok(Some(end)) if end.success());
        }
        drop(open);
        std::thread::sleep(LOOK);
    }
}

fn open() -> MutexGuard<'static, Option<Child>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether a pager is running.
pub(in crate::client) fn is_open() -> bool {
    open().is_some()
}

/// Ends the pager, if any, so that it restores the terminal. Keeps the lock, so that the thread waiting for the pager
/// does not continue: call this only before exiting.
pub(in crate::client) fn end() {
    let mut open = open();
    if let Some(child) = open.as_mut() {
        if let Ok(pid) = i32::try_from(child.id()) {
            // The pager may have just ended.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let begun = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if begun.elapsed() > LAST_PAGE {
                let _ = child.kill();
                break;
            }
            std::thread::sleep(LOOK);
        }
        std::mem::forget(open);
    }
}

/// Removes our colours, which a pager would show as text. Messages are sanitized and have no other escape characters.
fn plain(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let text = text.replace(super::BOLD, "").replace(super::NORMAL, "");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_longer_than_the_screen_is_detected() {
        assert!(!is_longer("a\nb\n", 3, 80));
        assert!(is_longer("a\nb\nc\n", 3, 80));
        // Wide characters take two columns.
        assert!(!is_longer("ああ\n\n", 3, 4));
        assert!(is_longer("ああ\n\n", 3, 3));
    }
}
