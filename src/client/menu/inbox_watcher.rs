//! Follows the active listener on a thread: shows new messages of the inbox, and replaces a listener that has ended.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::editor::Screen;
use super::presence::PresenceLease;
use crate::client::inbox::{Inbox, InboxError, MENU_WAIT};
use crate::client::instant::{ListenerEvent, ListenerHandle, ListenerPool};
use crate::client::message_view::MessageView;
use crate::message::MessageId;
use crate::name::Name;
use crate::sys::clock::Deadline;
use crate::sys::process::{self, Pid};

/// How long to wait for the exit of a listener that has closed its socket.
const END: Duration = Duration::from_secs(1);

/// How long to wait for the listener's counts.
const COUNTING: Duration = Duration::from_millis(300);

/// The active listener, and the name for which it receives messages.
#[derive(Debug)]
pub(super) struct ActiveListener {
    state: Mutex<(Name, Option<ListenerHandle>)>,
    /// How many times the counts have been printed.
    counted: Mutex<u64>,
    counts: Condvar,
}

impl ActiveListener {
    /// Creates the state for `name`. No listener is active yet.
    pub(super) fn new(name: Name) -> Self {
        Self {
            state: Mutex::new((name, None)),
            counted: Mutex::default(),
            counts: Condvar::new(),
        }
    }

    /// Receives messages for this name from now on.
    pub(super) fn listen_for(&self, name: &Name) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = name.clone();
        if let Some(handle) = &state.1 {
            // On failure, the listener has ended; its successor starts with the new name.
            let _ = handle.listen_for(name);
        }
    }

    /// Requests the listener's counts, and waits briefly until they are printed. Returns whether a listener is active.
    pub(super) fn ask_counts(&self) -> bool {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *counted;
        let is_asked = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let handle = state.1.as_ref();
            handle.is_some_and(|handle| handle.ask_counts().is_ok())
        };
        if is_asked {
            let same = |counted: &mut u64| *counted == before;
            // Counts that arrive later are printed above the prompt.
            let _ = self.counts.wait_timeout_while(counted, COUNTING, same);
        }
        is_asked
    }

    /// Notes that the counts have been printed.
    fn note_counts(&self) {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.counts.notify_all();
    }

    fn name(&self) -> Name {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.clone()
    }

    /// Activates the next listener of the pool.
    fn activate(&self, listeners: &mut ListenerPool) -> Option<ListenerHandle> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = listeners.activate(&state.0);
        state.1 = handle.as_ref().and_then(|handle| handle.try_clone().ok());
        handle
    }
}

/// Follows one listener after another, until the menu closes or the pool is empty.
pub(super) fn follow(
    listener: &ActiveListener,
    mut listeners: ListenerPool,
    screen: &Arc<Screen>,
    presence: &PresenceLease,
) {
    let mut inbox = None;
    while let Some(handle) = listener.activate(&mut listeners) {
        if let Ok(events) = handle.events() {
            for event in events {
                match event {
                    ListenerEvent::Mail => {
                        if let Err(e) = show(listener, &mut inbox, screen) {
                            screen.complain(&e.to_string());
                        }
                    }
                    ListenerEvent::Counts(text) => {
                        screen.tell(&format!("Datagrams: {text}."));
                        listener.note_counts();
                    }
                    ListenerEvent::Trouble(text) => screen.complain(&format!(
                        "cannot receive instant messages, which are stored on the server instead: {text}"
                    )),
                }
            }
        }
        let how = ended(handle.pid());
        if screen.is_leaving() {
            return;
        }
        screen.complain(&format!(
            "the listener has ended ({how}); switching to the next one"
        ));
    }
    screen.complain(
        "no listener is left: instant messages are off; messages for you are stored on the server",
    );
    presence.stop();
}

/// Reaps a listener, and describes how it ended.
fn ended(pid: Pid) -> String {
    let deadline = Deadline::after(END);
    while !deadline.passed() {
        match process::reap() {
            Some((this, end)) if this == pid => {
                return end.to_string();
            }
            Some(_) => {}
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    "exit status unknown".into()
}

/// Shows the messages waiting in the inbox.
fn show(
    listener: &ActiveListener,
    inbox: &mut Option<(Name, Inbox)>,
    screen: &Screen,
) -> Result<(), InboxError> {
    let name = listener.name();
    let inbox = match inbox.take() {
        Some((of, open)) if of == name => inbox.insert((of, open)),
        _ => inbox.insert((name.clone(), Inbox::open(&name)?)),
    };
    let inbox = &mut inbox.1;
    while screen.is_back() {
        // Another client of this user, or another thread, is showing messages, possibly these.
        let Some(_turn) = inbox.showing(MENU_WAIT)? else {
            continue;
        };
        if let Some(seen) = show_waiting(inbox, screen)? {
            let noted = inbox.note_shown(&seen);
            screen.noted(&seen);
            return noted;
        }
    }
    Ok(())
}

/// Shows waiting messages not shown yet. Returns the ids that count as shown; `None` while the terminal is lent.
fn show_waiting(inbox: &mut Inbox, screen: &Screen) -> Result<Option<Vec<MessageId>>, InboxError> {
    if let Some(damage) = inbox.damage() {
        screen.complain(&damage);
    }
    let handed = screen.handed();
    let waiting = inbox.waiting()?;
    let messages: Vec<_> = waiting
        .iter()
        .filter(|message| !handed.contains(&message.id))
        .map(|message| {
            (
                message.id,
                screen.format_message(&MessageView::from(message)),
            )
        })
        .collect();
    if messages.is_empty() {
        return Ok(Some(Vec::new()));
    }
    if let Some(last) = waiting.last() {
        screen.shown_from(last.from.clone());
    }
    Ok(screen.show(&messages))
}
