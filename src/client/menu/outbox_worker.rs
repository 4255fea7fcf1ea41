//! Sends queued messages in the background while the menu is open.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::editor::Screen;
use crate::client::outbox::{Deferred, Outbox, OutboxError, describe, send_all};
use crate::client::thread;

/// First pause between attempts; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause between attempts, and between checks for messages queued by other processes.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A thread that sends queued messages until the menu closes.
#[derive(Debug)]
pub(super) struct OutboxWorker {
    wake: Sender<()>,
}

impl OutboxWorker {
    /// Starts the thread, which reports results on `screen`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(screen: &Arc<Screen>) -> io::Result<Self> {
        let (wake, woken) = channel();
        let screen = Arc::clone(screen);
        thread::spawn("outbox", move || work(&woken, &screen))?;
        Ok(Self { wake })
    }

    /// Wakes the thread after a message was queued.
    pub(super) fn wake(&self) {
        // The thread ends only with the menu.
        let _ = self.wake.send(());
    }
}

fn work(woken: &Receiver<()>, screen: &Screen) {
    use std::sync::mpsc::RecvTimeoutError::Disconnected;
    let mut pause = FIRST_PAUSE;
    let mut told = None;
    loop {
        match flush(screen) {
            Ok(deferred) if deferred.is_empty() => pause = LONGEST_PAUSE,
            Ok(_) => {}
            Err(e) => {
                let trouble = e.to_string();
                if told.as_ref() != Some(&trouble) {
                    screen.complain(&trouble);
                    told = Some(trouble);
                }
            }
        }
        match woken.recv_timeout(pause) {
            Ok(()) => pause = FIRST_PAUSE,
            Err(Disconnected) => return,
            Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
        if pause == FIRST_PAUSE && matches!(woken.recv_timeout(pause), Err(Disconnected)) {
            return;
        }
        if screen.is_leaving() {
            return;
        }
    }
}

fn flush(screen: &Screen) -> Result<Deferred, OutboxError> {
    match Outbox::existing()? {
        Some(outbox) => send_all(&outbox, false, &mut |event| screen.tell(&describe(event))),
        None => Ok(Deferred::default()),
    }
}
