//! Flushes the outbox for a command, and prints the outcome for each message.

use super::delivery::{Deferred, Event, send_all, send_before};
use super::{Outbox, OutboxError};
use crate::client::view;

/// Sends the queued messages, unless another process is sending them. With `again`, also those refused before.
///
/// # Errors
/// The outbox cannot be used.
pub(in crate::client) fn flush(again: bool, verbose: bool) -> Result<Deferred, OutboxError> {
    let Some(outbox) = Outbox::existing()? else {
        return Ok(Deferred::default());
    };
    send_all(&outbox, again, &mut |event| tell(event, verbose))
}

/// As [`flush`], for a command that sends a message itself: waits for another process that sends the outbox.
///
/// # Errors
/// The outbox cannot be used.
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

/// Describes the outcome for a message.
pub(in crate::client) fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Sent(message) => format!(
            "the message to {} that was queued {} was sent",
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
