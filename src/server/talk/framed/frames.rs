//! Receives and sends the frames of a connection.

use std::io;
use std::time::Duration;

use crate::server::connection::{Pace, Received};
use crate::server::phase::Phase;
use crate::server::talk::conversation::Conversation;
use crate::server::talk::outcome::{Outcome, Stop};
use crate::sys::clock::Deadline;
use crate::wire::framed::{self as wire, Frame, Order};

/// A client of the framed dialect, with the byte order of its frames.
pub(super) struct Frames<'t, 'a> {
    pub(super) talk: &'t mut Conversation<'a>,
    order: Option<Order>,
}

impl<'t, 'a> Frames<'t, 'a> {
    /// Returns the frames of a client that has sent no whole frame yet.
    pub(super) fn new(talk: &'t mut Conversation<'a>) -> Self {
        Self { talk, order: None }
    }

    /// Receives the next frame. The client may take `first_byte_timeout` to begin it.
    ///
    /// # Errors
    /// When the client leaves, is too slow, or sends something that is not a frame.
    pub(super) fn hear(&mut self) -> Result<Vec<u8>, Stop> {
        let limit = self.talk.first_byte_timeout();
        self.hear_within(limit)
    }

    /// Like [`hear`](Self::hear), with another time limit for the first byte of the frame.
    ///
    /// # Errors
    /// Those of `hear`.
    pub(super) fn hear_within(&mut self, limit: Duration) -> Result<Vec<u8>, Stop> {
        let talk = &mut *self.talk;
        let ended = |outcome| Err(Stop::Ended(outcome));
        if talk.received.is_empty() {
            talk.deadline = Deadline::after(limit);
            talk.connection.expect(Phase::Step);
        }
        loop {
            match wire::decode_frame(&talk.received, self.order) {
                Frame::Whole(text, len, order) => {
                    let text = text.to_vec();
                    talk.received.drain(..len);
                    self.order = Some(order);
                    if !talk.received.is_empty() {
                        talk.request_begins();
                    }
                    return Ok(text);
                }
                Frame::Malformed(what) => {
                    let why = format!("not the framed dialect: {what}");
                    return ended(Outcome::Garbage(why));
                }
                Frame::Incomplete => {}
            }
            let left = talk.deadline.left();
            let is_first = talk.received.is_empty();
            match talk.connection.receive_rest(&mut talk.received, left)? {
                Received::Bytes if is_first => talk.request_begins(),
                Received::Bytes | Received::Bell => {}
                Received::End => {
                    let how = "the client left in the middle of a command";
                    return ended(Outcome::Broken(how.into()));
                }
                Received::Silence | Received::Ending | Received::Evicted => {
                    let how = "the client did not continue in time".into();
                    return ended(match is_first {
                        true => Outcome::Slow(how),
                        false => Outcome::HalfSaid(how),
                    });
                }
            }
        }
    }

    /// Sends a frame in one write, because the old client reads it with one read.
    ///
    /// # Errors
    /// When the connection is broken, or the client does not read.
    pub(super) fn say(&mut self, text: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(text.len() + 5);
        wire::encode_frame(&mut frame, text, self.order.unwrap_or(Order::Little));
        let mut pace = Pace::new(self.talk.config.request_timeout);
        self.talk.connection.send(&frame, &mut pace)
    }
}
