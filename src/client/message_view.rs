//! A message as it is shown, whichever way it came.

use super::inbox::ReceivedMessage;
use crate::message::{MessageId, Trust};
use crate::wire::session::Message;

/// What is known of a message; the old dialects say little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageView<'a> {
    /// Its number in the mailbox; none for what came straight from another client.
    pub(super) seq: Option<u64>,
    /// Its id.
    pub(super) id: Option<MessageId>,
    /// Who sent it.
    pub(super) from: &'a [u8],
    /// How far that can be believed.
    pub(super) trust: Option<Trust>,
    /// When it was accepted, in milliseconds since 1970.
    pub(super) at: Option<u64>,
    /// What it says.
    pub(super) body: &'a [u8],
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
            id: Some(message.id),
            from: message.from.as_bytes(),
            trust: Some(message.trust),
            at: Some(message.at),
            body: &message.body,
        }
    }
}
