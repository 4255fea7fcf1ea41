//! Reads messages from the server into a chat.

use std::io;

use super::editor::Screen;
use crate::client::inbox::{Inbox, MENU_WAIT};
use crate::client::link::{Link, LinkError, MessagePiece, MessageSink};
use crate::client::message_view::MessageView;
use crate::message::{MessageKey, Trust};
use crate::name::Name;

/// Reads the messages waiting for `of` at the server, and prints them above the prompt of the chat.
///
/// # Errors
/// Those of the server. Messages that were not shown stay in the mailbox.
pub(super) fn read(link: &Link, of: &Name, screen: &Screen) -> Result<(), LinkError> {
    // Without an inbox, duplicates cannot be detected and are shown.
    let inbox = Inbox::open(of).ok();
    let _turn = match inbox.as_ref().map(|inbox| inbox.showing(MENU_WAIT)) {
        // Another client of this user is showing the messages.
        Some(Ok(None)) => return Ok(()),
        Some(Ok(turn)) => turn,
        Some(Err(_)) | None => None,
    };
    let mut sink = ChatSink {
        screen,
        inbox,
        shown: Vec::new(),
        begun: None,
    };
    link.fetch(of, &mut sink).map(drop)
}

/// Prints messages into a chat.
struct ChatSink<'h> {
    screen: &'h Screen,
    inbox: Option<Inbox>,
    shown: Vec<(MessageKey, String)>,
    /// A message whose lines arrive one by one: its sender, the trust in the sender, and its text so far.
    begun: Option<(Vec<u8>, Option<Trust>, Vec<u8>)>,
}

impl ChatSink<'_> {
    /// Prints a complete message of an old server, which has no id.
    fn end_begun(&mut self) {
        if let Some((from, trust, body)) = self.begun.take() {
            let message = MessageView {
                seq: None,
                id: None,
                from: &from,
                trust,
                at: None,
                body: &body,
            };
            self.screen.print(&self.screen.format_message(&message));
        }
    }
}

impl MessageSink for ChatSink<'_> {
    fn knows(&mut self, key: &MessageKey) -> io::Result<bool> {
        let known = self.inbox.as_mut().map(|inbox| inbox.knows(key));
        // If the lookup fails, show the message.
        Ok(known.is_some_and(|known| known.unwrap_or(false)))
    }

    fn take(&mut self, piece: &MessagePiece<'_>) -> io::Result<()> {
        match piece {
            MessagePiece::Whole(message) => match message.key() {
                Some(key) => self.shown.push((key, self.screen.format_message(message))),
                None => self.screen.print(&self.screen.format_message(message)),
            },
            MessagePiece::First { from, trust, text } => {
                self.end_begun();
                self.begun = Some((from.to_vec(), *trust, text.to_vec()));
            }
            MessagePiece::Further(text) => {
                if let Some((_, _, body)) = &mut self.begun {
                    body.push(b'\n');
                    body.extend_from_slice(text);
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, keys: &[MessageKey]) -> io::Result<()> {
        self.end_begun();
        let shown = std::mem::take(&mut self.shown);
        let seen = self.screen.show(&shown).unwrap_or_default();
        let is_unseen =
            |key: &MessageKey| shown.iter().any(|(this, _)| this == key) && !seen.contains(key);
        let noted: Vec<_> = keys.iter().filter(|key| !is_unseen(key)).cloned().collect();
        if let Some(Err(e)) = self.inbox.as_mut().map(|inbox| inbox.note_shown(&noted)) {
            self.screen.complain(&e.to_string());
        }
        self.screen.noted(&seen);
        match noted.len() == keys.len() {
            true => Ok(()),
            false => Err(io::Error::other("the menu is closing")),
        }
    }
}
