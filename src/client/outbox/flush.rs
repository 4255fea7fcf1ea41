//! Flushing the outbox for a command, which prints what became of the messages.

use super::delivery::{Deferred, Event, send_all, send_before};
use super::{Outbox, OutboxError};
use crate::client::view;

/// Sends what can be sent of the outbox, and says what became of it.
///
/// # Errors
/// When the outbox cannot be used.
pub(in crate::client) fn flush(again: bool, verbose: bool) -> Result<Deferred, OutboxError> {
    let Some(outbox) = Outbox::existing()? else {
        return Ok(Deferred::default());
    };
    send_all(&outbox, again, &mut |event| tell(event, verbose))
}

/// The same, for a command that sends something itself: what is queued goes first, whoever sends it.
///
/// # Errors
/// When the outbox cannot be used.
pub(in crate::client) fn flush_before_sending(verbose: bool) -> Result<Deferred, OutboxError> {
    match Outbox::existing()? {
        Some(outbox) => send_before(&outbox, &mut |event| tell(event, verbose)),
        None => Ok(Deferred::default()),
    }
}

fn tell(event: &Event<'_>, verbose: bool) {
    if verbose || !matches!(event, Event::Sent(_)) {
        view::notice(&format!("dropline: {}", describe(event)));
    }
}

/// What became of a message, in words.
pub(in crate::client) fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Sent(message) => format!(
            "the message to {} that was queued {} is sent",
            message.to,
            view::moment(message.at)
        ),
        Event::Refused(message, why) => format!(
            "the message to {} that was queued {} cannot be sent: {why}; it is kept: see `dropline outbox`",
            message.to,
            view::moment(message.at)
        ),
        Event::Damaged(name) => {
            format!("the file {name} in the outbox is damaged, and cannot be sent")
        }
    }
}
