//! Sending what is in the outbox, beside the menu.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::editor::Screen;
use crate::client::outbox::{Deferred, Outbox, OutboxError, describe, send_all};
use crate::client::thread;

/// After which time one tries again, at first.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// After which time one tries again, at last; and looks whether somebody else has queued something.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A thread that sends what is queued, until the menu is left.
#[derive(Debug)]
pub(super) struct OutboxWorker {
    wake: Sender<()>,
}

impl OutboxWorker {
    /// Sends from now on, and tells on `screen` what became of it.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn start(screen: &Arc<Screen>) -> io::Result<Self> {
        let (wake, woken) = channel();
        let screen = Arc::clone(screen);
        thread::spawn("outbox", move || work(&woken, &screen))?;
        Ok(Self { wake })
    }

    /// Something was queued just now.
    pub(super) fn wake(&self) {
        // It is gone only when the menu is.
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
