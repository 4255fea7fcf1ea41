//! Watches the inbox while the menu is open: a thread that follows the listener, shows what is in the inbox, and
//! notices when the listener is gone.

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

/// How long a child that has closed its pipe may take to end.
const END: Duration = Duration::from_secs(1);

/// How long the listener may take to say its counts.
const COUNTING: Duration = Duration::from_millis(300);

/// Whose messages are listened for, and by which listener.
#[derive(Debug)]
pub(super) struct ActiveListener {
    state: Mutex<(Name, Option<ListenerHandle>)>,
    /// How many times counts were printed.
    counted: Mutex<u64>,
    counts: Condvar,
}

impl ActiveListener {
    /// Nobody listens yet; somebody will, for `name`.
    pub(super) fn new(name: Name) -> Self {
        Self {
            state: Mutex::new((name, None)),
            counted: Mutex::default(),
            counts: Condvar::new(),
        }
    }

    /// Listens for this name from now on.
    pub(super) fn listen_for(&self, name: &Name) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = name.clone();
        if let Some(handle) = &state.1 {
            // One that is gone is replaced by one that gets the new name.
            let _ = handle.listen_for(name);
        }
    }

    /// Asks for the listener's counts, and waits a moment until they are printed; whether anybody listens.
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
            // Where they come later, they are printed above the prompt.
            let _ = self.counts.wait_timeout_while(counted, COUNTING, same);
        }
        is_asked
    }

    /// Counts were printed.
    fn note_counts(&self) {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.counts.notify_all();
    }

    fn name(&self) -> Name {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.clone()
    }

    /// Wakes the next listener.
    fn activate(&self, listeners: &mut ListenerPool) -> Option<ListenerHandle> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = listeners.activate(&state.0);
        state.1 = handle.as_ref().and_then(|handle| handle.try_clone().ok());
        handle
    }
}

/// Follows one listener after the other, until the menu is left or there is none any more.
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
                        "instant messages cannot be taken, and go to the server: {text}"
                    )),
                }
            }
        }
        let how = ended(handle.pid());
        if screen.is_leaving() {
            return;
        }
        screen.complain(&format!(
            "the listener was lost ({how}); another one listens now"
        ));
    }
    screen.complain(
        "no listener is left: instant messages are off, and messages for you go to the server",
    );
    presence.stop();
}

/// How a listener has ended.
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
    "nobody knows how".into()
}

/// Shows what waits in the inbox.
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
        // Another client of this name prints messages, or we do: these perhaps, or older ones.
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

/// Shows what waits, and nobody has shown yet; which of it counts as shown, and `None` while somebody else
/// has the terminal.
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
