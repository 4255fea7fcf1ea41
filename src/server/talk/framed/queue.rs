//! Collects the waiting messages that fit into one frame.

use crate::store::{StoreError, Waiting};
use crate::wire::framed as wire;

#[derive(Default)]
pub(super) struct FrameQueue {
    pub(super) text: Vec<u8>,
    pub(super) count: u64,
    /// The number of the last one in the mailbox.
    pub(super) last: Option<u64>,
}

/// Collects as many whole messages as fit into one frame. If the first one does not fit, a notice takes its place, and
/// the message stays: other dialects can carry it.
pub(super) fn queue(waiting: &mut dyn Waiting) -> Result<FrameQueue, StoreError> {
    let mut queue = FrameQueue::default();
    while let Some(message) = waiting.next()? {
        let before = queue.text.len();
        wire::encode_delivery(&mut queue.text, &message.from, message.body);
        if queue.text.len() > wire::MAX_TEXT {
            queue.text.truncate(before);
            if queue.count == 0 {
                let text = format!(
                    "A message of {} bytes waits for you, which is too long for this client. Read it with dropline.",
                    message.body.len()
                );
                wire::encode_delivery(&mut queue.text, &message.from, text.as_bytes());
            }
            break;
        }
        queue.count += 1;
        queue.last = Some(message.seq);
    }
    Ok(queue)
}
