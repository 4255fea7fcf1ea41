//! A message as it is shown, from a server or from another client.

use super::inbox::ReceivedMessage;
use crate::message::{MessageId, MessageKey, Trust};
use crate::name::Name;
use crate::wire::session::Message;

/// A borrowed message. The line and framed dialects leave most fields empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageView<'a> {
    /// The number in the mailbox. An instant message has none.
    pub(super) seq: Option<u64>,
    pub(super) id: Option<MessageId>,
    pub(super) from: &'a [u8],
    /// Whether the sender's login is verified.
    pub(super) trust: Option<Trust>,
    /// When the message was accepted, in milliseconds since 1970.
    pub(super) at: Option<u64>,
    pub(super) body: &'a [u8],
}

impl MessageView<'_> {
    /// Returns what identifies the message; `None` in a dialect without ids.
    pub(super) fn key(&self) -> Option<MessageKey> {
        Some(MessageKey {
            trust: self.trust?,
            from: Name::new(self.from).ok()?,
            id: self.id?,
        })
    }
}

impl<'a> From<&'a Message<'a>> for MessageView<'a> {
    fn from(message: &'a Message<'a>) -> Self {
        Self {
            seq: Some(message.seq),
            id: Some(message.id),
            from: message.from.as_bytes(),
            trust: Some(message.trust),
            at: Some(message.at),
            body: message.body,
        }
    }
}

impl<'a> From<&'a ReceivedMessage> for MessageView<'a> {
    fn from(message: &'a ReceivedMessage) -> Self {
        Self {
            seq: None,
            id: Some(message.key.id),
            from: message.key.from.as_bytes(),
            trust: Some(message.key.trust),
            at: Some(message.at),
            body: &message.body,
        }
    }
}
