//! What is longer than the screen.

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

/// How often it is looked whether the pager has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How long a pager may take to give the terminal back.
pub(in crate::client) const LAST_PAGE: Duration = Duration::from_secs(1);

/// The pager that has the terminal.
static OPEN: Mutex<Option<Child>> = Mutex::new(None);
/// Who is told of it.
static TOLD: Mutex<Option<UnixStream>> = Mutex::new(None);

/// Tells somebody from now on which process is the pager, in four bytes of the machine's order each time that this
/// changes; 0 is none.
pub(in crate::client) fn tell(whom: UnixStream) {
    *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = Some(whom);
}

fn tell_number(number: u32) {
    if let Some(whom) = &mut *TOLD.lock().unwrap_or_else(PoisonError::into_inner) {
        // Without them, the pager outlives a menu that is killed.
        let _ = whom.write_all(&number.to_ne_bytes());
    }
}

/// Shows text on the terminal: through $PAGER where it is longer than the screen.
///
/// # Errors
/// When the terminal is gone.
pub(in crate::client) fn page(text: &[u8]) -> io::Result<()> {
    let size = terminal::size();
    if !is_longer(&String::from_utf8_lossy(text), size.rows, size.columns) || !through_pager(text) {
        super::write_bytes(text)?;
    }
    Ok(())
}

/// Whether `text` needs more lines than there are, with one for what comes after it.
fn is_longer(text: &str, rows: usize, columns: usize) -> bool {
    let needed = text
        .lines()
        .map(|line| line.width().div_ceil(columns.max(1)).max(1));
    needed.sum::<usize>() >= rows
}

/// Whether there was a pager, and it has shown the text.
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
        // It must not run anything, nor write files, because of what somebody has sent.
        .env("LESSSECURE", "1")
        .stdin(Stdio::piped());
    // It is to know when the terminal gets another size, which is held back from the menu's editor.
    let_all_through(&mut command);
    let Ok(mut child) = command.spawn() else {
        return false;
    };
    tell_number(child.id());
    let input = child.stdin.take();
    *open() = Some(child);
    if let Some(mut input) = input {
        // Whoever leaves the pager early has seen enough.
        let _ = input.write_all(&plain(text));
    }
    loop {
        // Nobody waits for it without the lock, so that nobody signals another process in its place.
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

/// Whether a pager has the terminal.
pub(in crate::client) fn is_open() -> bool {
    open().is_some()
}

/// Ends the pager, if there is one, so that it gives the terminal back. What goes on after a pager does not go on
/// any more: this is for leaving.
pub(in crate::client) fn end() {
    let mut open = open();
    if let Some(child) = open.as_mut() {
        if let Ok(pid) = i32::try_from(child.id()) {
            // It may have ended just now.
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

/// The text without our colours, which a pager shows as what they are. What others have sent has no escape
/// character any more.
fn plain(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let text = text.replace(super::BOLD, "").replace(super::NORMAL, "");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_the_screen() {
        assert!(!is_longer("a\nb\n", 3, 80));
        assert!(is_longer("a\nb\nc\n", 3, 80));
        // Wide characters take two columns.
        assert!(!is_longer("ああ\n\n", 3, 4));
        assert!(is_longer("ああ\n\n", 3, 3));
    }
}
