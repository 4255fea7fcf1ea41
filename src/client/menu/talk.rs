//! Sending from the menu, and talking line by line.

use std::io;
use std::time::Duration;

use super::prompt::Typed;
use super::screen::Screen;
use super::{Here, Menu, MenuError};
use crate::client::command::outbox::flush;
use crate::client::command::send::{Post, SendError, Sent, Way, outcome};
use crate::client::inbox::Inbox;
use crate::client::instant::Delivery;
use crate::client::link::{Dialect, Link, LinkError, Piece, Sink};
use crate::client::note::Note;
use crate::client::outbox::Stuck;
use crate::client::view;
use crate::message::MessageId;
use crate::name::Name;

/// How long another client of the same name may go on showing messages.
const TURN: Duration = Duration::from_secs(2);

impl Menu {
    /// Sends a message, if one was written, and says how it went.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn send(&mut self, to: &Name, message: Option<String>) -> Result<(), MenuError> {
        let Some(message) = message else {
            return Ok(());
        };
        if let Some(sent) = self.post(to, &message) {
            view::tell(&outcome(to, &sent))?;
            self.note(to, &sent)?;
        } else {
            self.prompt.remember(&message);
            view::tell("The arrow up brings back what you have written.")?;
        }
        Ok(())
    }

    /// Sends a message, or queues it; what went wrong was said where there is nothing.
    fn post(&self, to: &Name, message: &str) -> Option<Sent> {
        let sent = self.prompt.screen().busy(|| {
            let nothing = Stuck::default();
            let begun = self
                .as_post(&nothing)
                .begin(to, message.as_bytes(), Way::Instant, None)?;
            // What was left over goes first.
            let stuck = flush(false, true).unwrap_or_else(|e| {
                view::complain(&e);
                Stuck::default()
            });
            self.as_post(&stuck).finish(begun)
        });
        let sent = sent.inspect_err(|e: &SendError| view::complain(e)).ok()?;
        self.prompt.meet(to);
        if let (Sent::Queued(_), Some(postman)) = (&sent, &self.postman) {
            postman.wake();
        }
        Some(sent)
    }

    /// Says so if nobody knows the recipient.
    fn note(&self, to: &Name, sent: &Sent) -> io::Result<()> {
        let nothing = Stuck::default();
        let note = match sent {
            Sent::Gone(delivery) => self.as_post(&nothing).note(to, *delivery),
            Sent::Queued(_) => None,
        };
        note.map_or(Ok(()), |note| view::tell(&note))
    }

    /// Whether nothing waits at the server: the old chat server keeps nothing for those who are online, and hands
    /// out what it has kept when they come.
    fn is_told_at_once(&self) -> bool {
        let is_online = |here: &Here| here.presence.is_online();
        self.link.dialect() == Dialect::Framed && self.here.as_ref().is_some_and(is_online)
    }

    fn as_post<'p>(&'p self, stuck: &'p Stuck) -> Post<'p> {
        Post {
            link: &self.link,
            named: self.named.as_ref(),
            from: &self.user,
            stuck,
        }
    }

    /// Talks to one person, line by line, until Ctrl-D. What others send is shown as being from them.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn chat(&mut self, with: &Name) -> Result<(), MenuError> {
        view::tell(&format!(
            "What you type goes to {with}, line by line. Ctrl-D leaves."
        ))?;
        self.prompt.screen().talk_with(with);
        let mut told = None;
        loop {
            // What came by way of the server; what comes while somebody types, the lookout brings.
            let heard = match self.is_told_at_once() {
                true => Ok(()),
                false => read(&self.link, &self.user, self.prompt.screen()),
            };
            match heard {
                // It may be reading just now.
                Ok(()) | Err(LinkError::Later(_)) => told = None,
                Err(e) => {
                    let trouble = e.to_string();
                    if told.as_ref() != Some(&trouble) {
                        view::complain(&e);
                        told = Some(trouble);
                    }
                }
            }
            let Typed::Text(text) = self.prompt.talk(&format!("{}> ", self.user))? else {
                return Ok(());
            };
            let text = text.trim_end_matches('\n');
            if text.trim().is_empty() {
                continue;
            }
            match self.post(with, text) {
                Some(Sent::Gone(Delivery::Acknowledged)) => {}
                Some(sent) => {
                    view::tell(&outcome(with, &sent))?;
                    self.note(with, &sent)?;
                }
                None => self.prompt.remember(text),
            }
        }
    }
}

/// Reads what waits for `of` at the server, and shows it as a part of the talk; the prompt stays where it is.
///
/// # Errors
/// The messages stay waiting.
pub(super) fn read(link: &Link, of: &Name, screen: &Screen) -> Result<(), LinkError> {
    // Without an inbox everything is shown, and perhaps once more than it should be.
    let inbox = Inbox::open(of).ok();
    let _turn = match inbox.as_ref().map(|inbox| inbox.showing(TURN)) {
        // Another client of this name shows them.
        Some(Ok(None)) => return Ok(()),
        Some(Ok(turn)) => turn,
        Some(Err(_)) | None => None,
    };
    let mut hearing = Hearing {
        screen,
        inbox,
        heard: Vec::new(),
        begun: None,
    };
    link.fetch(of, &mut hearing).map(drop)
}

/// What is heard in a talk.
struct Hearing<'h> {
    screen: &'h Screen,
    inbox: Option<Inbox>,
    heard: Vec<(MessageId, String)>,
    /// A message whose lines come one by one: its sender and its text.
    begun: Option<(Vec<u8>, Vec<u8>)>,
}

impl Hearing<'_> {
    /// Shows a message of an old server, which has no id.
    fn end_begun(&mut self) {
        if let Some((from, body)) = self.begun.take() {
            let note = Note {
                seq: None,
                id: None,
                from: &from,
                trust: None,
                at: None,
                body: &body,
            };
            self.screen.print(&self.screen.letter(&note));
        }
    }
}

impl Sink for Hearing<'_> {
    fn knows(&mut self, id: MessageId) -> io::Result<bool> {
        let known = self.inbox.as_mut().map(|inbox| inbox.knows(id));
        // What cannot be looked up is shown.
        Ok(known.is_some_and(|known| known.unwrap_or(false)))
    }

    fn take(&mut self, piece: &Piece<'_>) -> io::Result<()> {
        match piece {
            Piece::Whole(note) => match note.id {
                Some(id) => self.heard.push((id, self.screen.letter(note))),
                None => self.screen.print(&self.screen.letter(note)),
            },
            Piece::First { from, text } => {
                self.end_begun();
                self.begun = Some((from.to_vec(), text.to_vec()));
            }
            Piece::Further(text) => {
                if let Some((_, body)) = &mut self.begun {
                    body.push(b'\n');
                    body.extend_from_slice(text);
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, ids: &[MessageId]) -> io::Result<()> {
        self.end_begun();
        let heard = std::mem::take(&mut self.heard);
        let seen = self.screen.show(&heard).unwrap_or_default();
        let is_unseen =
            |id: &MessageId| heard.iter().any(|(this, _)| this == id) && !seen.contains(id);
        let shown: Vec<_> = ids.iter().filter(|id| !is_unseen(id)).copied().collect();
        if let Some(Err(e)) = self.inbox.as_mut().map(|inbox| inbox.note_shown(&shown)) {
            self.screen.complain(&e.to_string());
        }
        self.screen.noted(&seen);
        match shown.len() == ids.len() {
            true => Ok(()),
            false => Err(io::Error::other("the menu is being left")),
        }
    }
}
