//! What goes into one frame, of what there is: messages that wait, and the list of who is there.

use crate::name::Name;
use crate::store::{StoreError, Waiting};
use crate::wire::framed as wire;

/// Messages for one frame.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) text: Vec<u8>,
    pub(super) count: u64,
    /// The number of the last of them.
    pub(super) last: Option<u64>,
}

/// As many whole messages as one frame holds. Where not even the first does, it says so in its place, and
/// that message stays: other dialects can carry it.
pub(super) fn queue(waiting: &mut dyn Waiting) -> Result<Queue, StoreError> {
    let mut queue = Queue::default();
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

/// The list of clients, as far as it goes into one frame.
pub(super) fn list(names: &[Name], is_online: impl Fn(&Name) -> bool) -> Vec<u8> {
    if names.is_empty() {
        return wire::NOBODY.to_vec();
    }
    /// Room for the line about those who did not fit.
    const ROOM: usize = 64;
    let mut text = wire::LIST.to_vec();
    for (index, name) in names.iter().enumerate() {
        let state = if is_online(name) { "online" } else { "offline" };
        let line = format!("{name} ({state})\n");
        if text.len() + line.len() + ROOM > wire::MAX_TEXT {
            let more = names.len() - index;
            text.extend_from_slice(format!("... and {more} more\n").as_bytes());
            break;
        }
        text.extend_from_slice(line.as_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_many_is_one_frame() {
        let names: Vec<Name> = (0..100_000)
            .map(|n| format!("u{n}").parse().expect("a name"))
            .collect();
        assert_eq!(list(&[], |_| true), wire::NOBODY);
        let two = list(&names[..2], |name| name.as_str() == "u1");
        assert_eq!(two, b"Client Status List:\nu0 (offline)\nu1 (online)\n");
        let many = list(&names, |_| false);
        assert!(many.len() <= wire::MAX_TEXT);
        let last = String::from_utf8(many).expect("text");
        let shown = last.lines().count() - 2;
        assert!(last.ends_with(&format!("... and {} more\n", names.len() - shown)));
    }
}
