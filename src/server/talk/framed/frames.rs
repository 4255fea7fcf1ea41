//! Receives and sends the frames of a connection.

use std::io;

use crate::server::connection::{Pace, Received};
use crate::server::talk::conversation::Conversation;
use crate::server::talk::outcome::{Outcome, Stop};
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

    /// Receives the next frame.
    ///
    /// # Errors
    /// When the client leaves, is too slow, or sends something that is not a frame.
    pub(super) fn hear(&mut self) -> Result<Vec<u8>, Stop> {
        let talk = &mut *self.talk;
        let ended = |outcome| Err(Stop::Ended(outcome));
        loop {
            match wire::decode_frame(&talk.received, self.order) {
                Frame::Whole(text, len, order) => {
                    let text = text.to_vec();
                    talk.received.drain(..len);
                    self.order = Some(order);
                    return Ok(text);
                }
                Frame::Malformed(what) => {
                    let why = format!("not the framed dialect: {what}");
                    return ended(Outcome::Garbage(why));
                }
                Frame::Incomplete => {}
            }
            let left = talk.deadline.left();
            match talk.connection.receive_rest(&mut talk.received, left)? {
                Received::Bytes | Received::Bell => {}
                Received::End => {
                    let how = "the client left in the middle of a command";
                    return ended(Outcome::Broken(how.into()));
                }
                Received::Silence | Received::Ending => {
                    let how = "the client did not continue in time";
                    return ended(Outcome::Slow(how.into()));
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
