//! Follows the active listener on a thread: shows new messages of the inbox, and replaces a listener that has ended.

use std::sync::Arc;
use std::time::Duration;

use super::active_listener::ActiveListener;
use super::editor::Screen;
use super::presence::PresenceLease;
use crate::client::inbox::{Inbox, InboxError, MENU_WAIT};
use crate::client::instant::{ListenerEvent, ListenerPool};
use crate::client::message_view::MessageView;
use crate::message::MessageKey;
use crate::name::Name;
use crate::sys::clock::Deadline;
use crate::sys::process::{self, Pid};

/// How long to wait for the exit of a listener that has closed its socket.
const END: Duration = Duration::from_secs(1);

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

/// Shows waiting messages not shown yet. Returns the keys of those that count as shown; `None` while the terminal is lent.
fn show_waiting(inbox: &mut Inbox, screen: &Screen) -> Result<Option<Vec<MessageKey>>, InboxError> {
    if let Some(damage) = inbox.damage() {
        screen.complain(&damage);
    }
    let handed = screen.handed();
    let waiting = inbox.waiting()?;
    let messages: Vec<_> = waiting
        .iter()
        .filter(|message| !handed.contains(&message.key))
        .map(|message| {
            (
                message.key.clone(),
                screen.format_message(&MessageView::from(message)),
            )
        })
        .collect();
    if messages.is_empty() {
        return Ok(Some(Vec::new()));
    }
    if let Some(last) = waiting.last() {
        screen.shown_from(last.key.from.clone());
    }
    Ok(screen.show(&messages))
}
