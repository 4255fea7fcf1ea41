//! Sending what is in the outbox, beside the menu.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::screen::Screen;
use super::thread;
use crate::client::command::outbox::said;
use crate::client::outbox::{Outbox, OutboxError, Stuck, send_all};

/// After which time one tries again, at first.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// After which time one tries again, at last; and looks whether somebody else has queued something.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A thread that sends what is queued, until the menu is left.
#[derive(Debug)]
pub(super) struct Postman {
    bell: Sender<()>,
}

impl Postman {
    /// Sends from now on, and tells on `screen` what became of it.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn start(screen: &Arc<Screen>) -> io::Result<Self> {
        let (bell, rung) = channel();
        let screen = Arc::clone(screen);
        thread("postman", move || walk(&rung, &screen))?;
        Ok(Self { bell })
    }

    /// Something was queued just now.
    pub(super) fn wake(&self) {
        // It is gone only when the menu is.
        let _ = self.bell.send(());
    }
}

fn walk(rung: &Receiver<()>, screen: &Screen) {
    use std::sync::mpsc::RecvTimeoutError::Disconnected;
    let mut pause = FIRST_PAUSE;
    let mut told = None;
    loop {
        match round(screen) {
            Ok(stuck) if stuck.is_empty() => pause = LONGEST_PAUSE,
            Ok(_) => {}
            Err(e) => {
                let trouble = e.to_string();
                if told.as_ref() != Some(&trouble) {
                    screen.complain(&trouble);
                    told = Some(trouble);
                }
            }
        }
        match rung.recv_timeout(pause) {
            Ok(()) => pause = FIRST_PAUSE,
            Err(Disconnected) => return,
            Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
        if pause == FIRST_PAUSE && matches!(rung.recv_timeout(pause), Err(Disconnected)) {
            return;
        }
        if screen.is_leaving() {
            return;
        }
    }
}

fn round(screen: &Screen) -> Result<Stuck, OutboxError> {
    match Outbox::existing()? {
        Some(outbox) => send_all(&outbox, false, &mut |event| screen.tell(&said(event))),
        None => Ok(Stuck::default()),
    }
}
