//! Completes names: of registered users, recent senders, and recipients.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustyline::Context;
use rustyline::completion::Completer;

use crate::client::inbox::Inbox;
use crate::client::link::Link;
use crate::client::outbox::Outbox;
use crate::name::Name;

/// How long collected names are cached.
const FRESH: Duration = Duration::from_secs(10);

/// How many messages of the history are searched for senders.
const LATELY: u32 = 50;

/// Completes names, and collects them when a completion is requested.
pub(super) struct NameCompleter {
    link: Link,
    /// Whether the prompt asks for a name. Otherwise only the argument of `!send` is completed.
    pub(super) is_asked: bool,
    known: Mutex<Option<(Instant, Vec<Name>)>>,
    /// The recipients of messages sent from this menu.
    recipients: Mutex<BTreeSet<Name>>,
    /// The user's name.
    me: Option<Name>,
}

impl NameCompleter {
    /// Creates a completer for the users of this server.
    pub(super) fn of(link: &Link) -> Self {
        Self {
            link: link.with_short_timeouts(),
            is_asked: false,
            known: Mutex::default(),
            recipients: Mutex::default(),
            me: None,
        }
    }

    /// Sets the user's name, and discards the cached names.
    pub(super) fn complete_for(&mut self, me: &Name) {
        self.me = Some(me.clone());
        *self.known.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn add_recipient(&self, name: &Name) {
        let mut recipients = self
            .recipients
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        recipients.insert(name.clone());
    }

    /// Collects the registered users, recent senders, and recipients of queued messages. Skips failing or slow sources.
    fn all(&self) -> Vec<Name> {
        let people = self.link.who(None).unwrap_or_default();
        let mut names: Vec<_> = people.into_iter().map(|person| person.name).collect();
        if let Some(me) = &self.me {
            let mut left = LATELY;
            // On failure, use the names found so far.
            let _ = self.link.history(me, &mut |message| {
                names.extend(Name::new(message.from));
                left -= 1;
                left > 0
            });
            let inbox = Inbox::open(me).and_then(|mut inbox| inbox.waiting());
            names.extend(inbox.into_iter().flatten().map(|message| message.key.from));
        }
        let outbox = Outbox::existing().ok().flatten();
        let queued = outbox.and_then(|outbox| outbox.items().ok());
        let queued = queued.into_iter().flatten();
        names.extend(queued.filter_map(|item| Some(item.message?.to)));
        names
    }

    /// Returns the names that begin with `head`.
    fn beginning(&self, head: &str) -> Vec<String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = known.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH);
        if !is_fresh {
            *known = Some((Instant::now(), self.all()));
        }
        let recipients = self
            .recipients
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let names = known.iter().flat_map(|(_, names)| names);
        let names: BTreeSet<_> = names.chain(recipients.iter()).collect();
        names
            .into_iter()
            .map(Name::to_string)
            .filter(|name| name.starts_with(head))
            .collect()
    }
}

/// Returns where the name that ends at `at` begins in `line`; `None` if no name is expected there.
fn name_at(line: &str, at: usize, is_asked: bool) -> Option<usize> {
    let before = line.get(..at)?;
    if is_asked {
        return Some(before.rfind(',').map_or(0, |comma| comma + 1));
    }
    let rest = before.trim_start().strip_prefix("!send ")?;
    Some(at - rest.trim_start().len())
}

impl Completer for NameCompleter {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(match name_at(line, at, self.is_asked) {
            Some(begin) => (begin, self.beginning(&line[begin..at])),
            None => (at, Vec::new()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_only_where_expected() {
        assert_eq!(name_at("bo", 2, true), Some(0));
        assert_eq!(name_at("bo", 2, false), None);
        assert_eq!(name_at("!send bo", 8, false), Some(6));
        assert_eq!(name_at("!send", 5, false), None);
        assert_eq!(name_at("é", 1, true), None);
    }
}
