//! Watches the mailbox at the server. New messages are announced above the prompt and stay in the mailbox; in a chat
//! they are read.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::chat_reader;
use super::editor::Screen;
use crate::client::inbox::Inbox;
use crate::client::link::{Link, LinkError, MailboxObserver};
use crate::client::message_view::MessageView;
use crate::client::{thread, view};
use crate::message::MessageKey;
use crate::name::Name;

/// Interval at which the mailbox is polled.
const OFTEN: Duration = Duration::from_secs(1);
/// Pause between sessions; each failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause between sessions.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Most senders named in a notice.
const MOST_NAMES: usize = 3;

/// A thread that polls the mailbox at the server.
#[derive(Debug)]
pub(super) struct MailboxWatcher {
    shared: Arc<SharedState>,
}

#[derive(Debug, Default)]
struct SharedState {
    state: Mutex<WatcherState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct WatcherState {
    /// The owner of the mailbox.
    name: Option<Name>,
    /// The number of waiting messages last shown to the user.
    known: Option<u64>,
    is_over: bool,
}

impl SharedState {
    fn state(&self) -> MutexGuard<'_, WatcherState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `time`, or for a change. Returns whether `name` is still watched.
    fn wait(&self, time: Duration, name: &Name) -> bool {
        let same = |state: &WatcherState| !state.is_over && state.name.as_ref() == Some(name);
        let waited = self
            .changed
            .wait_timeout_while(self.state(), time, |state| same(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        same(&state)
    }
}

impl MailboxWatcher {
    /// Starts to watch the mailbox of `name`. `known` is the number of waiting messages shown to the user.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        link: &Link,
        name: &Name,
        known: Option<u64>,
        screen: &Arc<Screen>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(SharedState::default());
        *shared.state() = WatcherState {
            name: Some(name.clone()),
            known,
            is_over: false,
        };
        let (on, link, screen) = (
            Arc::clone(&shared),
            link.in_background(),
            Arc::clone(screen),
        );
        thread::spawn("mailbox", move || watch(&on, &link, &screen))?;
        Ok(Self { shared })
    }

    /// Watches the mailbox of another name.
    pub(super) fn watch(&self, name: &Name) {
        let mut state = self.shared.state();
        state.name = Some(name.clone());
        state.known = None;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Records the number of waiting messages shown to the user.
    pub(super) fn note_known(&self, known: u64) {
        self.shared.state().known = Some(known);
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }
}

/// Polls in one session after another. Reports once when the server stops responding, and once when it is back.
fn watch(shared: &SharedState, link: &Link, screen: &Screen) {
    let mut pause = FIRST_PAUSE;
    loop {
        let name = {
            let state = shared.state();
            match (&state.name, state.is_over) {
                (Some(name), false) => name.clone(),
                _ => return,
            }
        };
        let mut session = WatchSession {
            shared,
            link,
            screen,
            inbox: Inbox::open(&name).ok(),
            name: &name,
            answered: false,
        };
        match link.attend(&name, &mut session) {
            // An old server does not report waiting messages.
            Err(LinkError::TooOld(_)) => return,
            // The server may have just been restarted.
            Ok(()) | Err(_) if session.answered => pause = FIRST_PAUSE,
            Ok(()) => pause = (pause * 2).min(LONGEST_PAUSE),
            Err(e) => {
                pause = (pause * 2).min(LONGEST_PAUSE);
                let is_away = matches!(e, LinkError::Unreachable(..) | LinkError::Broken(..));
                if is_away && !screen.is_server_gone() {
                    screen.told_of_server(true);
                    screen.tell(&format!(
                        "The server {} has stopped responding; messages are queued here until it is back.",
                        link.server()
                    ));
                }
            }
        }
        shared.wait(pause, &name);
    }
}

/// One session of the watcher.
struct WatchSession<'s> {
    shared: &'s SharedState,
    link: &'s Link,
    screen: &'s Screen,
    inbox: Option<Inbox>,
    name: &'s Name,
    answered: bool,
}

impl WatchSession<'_> {
    /// Returns whether this message was already shown, because it also arrived as an instant message.
    fn knows(&mut self, key: &MessageKey) -> bool {
        let known = self.inbox.as_mut().map(|inbox| inbox.knows(key));
        known.is_some_and(|known| known.unwrap_or(false)) || self.screen.handed().contains(key)
    }
}

impl MailboxObserver for WatchSession<'_> {
    fn goes_on(&mut self) -> bool {
        self.shared.wait(OFTEN, self.name)
    }

    fn count(&mut self, count: u64) -> bool {
        self.answered = true;
        if self.screen.is_server_gone() {
            self.screen.told_of_server(false);
            let server = self.link.server();
            self.screen.tell(&format!("The server {server} is back."));
        }
        if self.screen.is_chat() {
            if count > 0 {
                // On failure, the next poll retries.
                let _ = chat_reader::read(self.link, self.name, self.screen);
            }
            return false;
        }
        // The pager may be showing these messages; the count can differ afterwards.
        if self.screen.is_lent() {
            return false;
        }
        let mut state = self.shared.state();
        let known = state.known.replace(count);
        known.is_none_or(|known| count > known) && count > 0
    }

    fn look(&mut self, count: u64, messages: &[MessageView<'_>]) {
        let mut count = count;
        let mut senders: Vec<String> = Vec::new();
        for message in messages {
            if message.key().is_some_and(|key| self.knows(&key)) {
                count = count.saturating_sub(1);
                continue;
            }
            let sender = view::sender(message.from, message.trust);
            if !senders.contains(&sender) {
                senders.push(sender);
            }
        }
        if count > 0 {
            let is_all = count <= messages.len() as u64;
            self.screen.tell(&notice(count, &senders, is_all));
        }
    }
}

/// Formats the notice of `count` waiting messages. `is_all`: `senders` has the senders of all of them.
fn notice(count: u64, senders: &[String], is_all: bool) -> String {
    let wait = match count {
        1 => "1 message waiting".to_owned(),
        count => format!("{count} messages waiting"),
    };
    let named = senders.len().min(MOST_NAMES);
    // Only the first of many messages are fetched.
    let first = if is_all { "" } else { "the first " };
    let others = if named == senders.len() {
        ""
    } else {
        " and others"
    };
    match senders[..named].join(", ") {
        names if names.is_empty() => format!("{wait}; type 2 to read."),
        names => format!("{wait} ({first}from {names}{others}); type 2 to read."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_has_the_count_and_the_senders() {
        let names = ["bob", "~al", "carol", "dave"].map(str::to_owned);
        assert_eq!(
            notice(1, &names[..1], true),
            "1 message waiting (from bob); type 2 to read."
        );
        assert_eq!(
            notice(9, &names, true),
            "9 messages waiting (from bob, ~al, carol and others); type 2 to read."
        );
        assert_eq!(
            notice(99, &names[..1], false),
            "99 messages waiting (the first from bob); type 2 to read."
        );
    }
}
