//! Watches the mailbox at the server while the menu waits: a notice above the prompt tells of new messages, which stay in
//! the mailbox. In a chat they are read.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::chat_reader;
use super::editor::Screen;
use crate::client::inbox::Inbox;
use crate::client::link::{Link, LinkError, MailboxObserver};
use crate::client::message_view::MessageView;
use crate::client::{thread, view};
use crate::message::MessageId;
use crate::name::Name;

/// How often it is looked.
const OFTEN: Duration = Duration::from_secs(1);
/// After which time one tries again when the server did not answer, at first.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The same, at last.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How many senders are named.
const MOST_NAMES: usize = 3;

/// A thread that looks after the mailbox at the server.
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
    /// Whose mailbox.
    name: Option<Name>,
    /// How many messages the person knows of.
    known: Option<u64>,
    is_over: bool,
}

impl SharedState {
    fn state(&self) -> MutexGuard<'_, WatcherState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for some time; whether it goes on for `name` after that.
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
    /// Looks after the mailbox of `name` from now on, of which it was told that `known` messages wait in it.
    ///
    /// # Errors
    /// When there can be no thread.
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

    /// It is another name from now on.
    pub(super) fn watch(&self, name: &Name) {
        let mut state = self.shared.state();
        state.name = Some(name.clone());
        state.known = None;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// The person knows that so many messages wait.
    pub(super) fn note_known(&self, known: u64) {
        self.shared.state().known = Some(known);
    }

    /// Looks no more.
    pub(super) fn end(&self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }
}

/// Looks, in one session after the other, and tells once when there is none to be had, and once when there is one
/// again.
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
            // An old server does not say what waits.
            Err(LinkError::TooOld(_)) => return,
            // It may just have been started anew.
            Ok(()) | Err(_) if session.answered => pause = FIRST_PAUSE,
            Ok(()) => pause = (pause * 2).min(LONGEST_PAUSE),
            Err(e) => {
                pause = (pause * 2).min(LONGEST_PAUSE);
                let is_away = matches!(e, LinkError::Unreachable(..) | LinkError::Broken(..));
                if is_away && !screen.is_server_gone() {
                    screen.told_of_server(true);
                    screen.tell(&format!(
                        "The server {} does not answer any more; messages are kept here until it is back.",
                        link.server()
                    ));
                }
            }
        }
        shared.wait(pause, &name);
    }
}

/// What one session shows.
struct WatchSession<'s> {
    shared: &'s SharedState,
    link: &'s Link,
    screen: &'s Screen,
    inbox: Option<Inbox>,
    name: &'s Name,
    answered: bool,
}

impl WatchSession<'_> {
    /// Whether this message has been shown already, as it came another way as well.
    fn knows(&mut self, id: MessageId) -> bool {
        let known = self.inbox.as_mut().map(|inbox| inbox.knows(id));
        known.is_some_and(|known| known.unwrap_or(false)) || self.screen.handed().contains(&id)
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
                // What does not go now goes in a second.
                let _ = chat_reader::read(self.link, self.name, self.screen);
            }
            return false;
        }
        // After the pager, which shows perhaps what waits, it may be another number.
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
            if message.id.is_some_and(|id| self.knows(id)) {
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

/// How many messages wait, and from whom; `is_all` when these are all who have sent one.
fn notice(count: u64, senders: &[String], is_all: bool) -> String {
    let wait = match count {
        1 => "1 message waits".to_owned(),
        count => format!("{count} messages wait"),
    };
    let named = senders.len().min(MOST_NAMES);
    // Not all of many are looked at.
    let first = if is_all { "" } else { "the first " };
    let others = if named == senders.len() {
        ""
    } else {
        " and others"
    };
    match senders[..named].join(", ") {
        names if names.is_empty() => format!("{wait}; 2 reads."),
        names => format!("{wait} ({first}from {names}{others}); 2 reads."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_how_many_and_from_whom() {
        let names = ["bob", "~al", "carol", "dave"].map(str::to_owned);
        assert_eq!(
            notice(1, &names[..1], true),
            "1 message waits (from bob); 2 reads."
        );
        assert_eq!(
            notice(9, &names, true),
            "9 messages wait (from bob, ~al, carol and others); 2 reads."
        );
        assert_eq!(
            notice(99, &names[..1], false),
            "99 messages wait (the first from bob); 2 reads."
        );
    }
}
