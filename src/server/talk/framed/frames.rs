//! Frames from and to a client.

use std::io;

use super::{Client, Stop};
use crate::server::connection::{Pace, Received};
use crate::server::talk::Outcome;
use crate::wire::framed::{self as wire, Frame, Order};

/// What a client says, as it cannot say what we need.
enum Said {
    /// A frame.
    Frame(Vec<u8>),
    /// It has left, or was too slow, or what it says is no frame: how the connection ended.
    Nothing(Outcome),
}

impl Client<'_, '_> {
    /// The next frame.
    pub(super) fn frame(&mut self) -> Result<Vec<u8>, Stop> {
        match self.read_frame()? {
            Said::Frame(text) => Ok(text),
            Said::Nothing(outcome) => Err(Stop::Client(outcome)),
        }
    }

    fn read_frame(&mut self) -> io::Result<Said> {
        let talk = &mut *self.talk;
        let nothing = |how: &str| Ok(Said::Nothing(Outcome::Broken(how.into())));
        loop {
            match wire::decode_frame(&talk.received, self.order) {
                Frame::Whole(text, len, order) => {
                    let text = text.to_vec();
                    talk.received.drain(..len);
                    self.order = Some(order);
                    return Ok(Said::Frame(text));
                }
                Frame::Malformed(what) => {
                    let why = format!("not the framed dialect: {what}");
                    return Ok(Said::Nothing(Outcome::Garbage(why)));
                }
                Frame::Incomplete => {}
            }
            match talk
                .connection
                .receive(&mut talk.received, talk.deadline.left())?
            {
                Received::Bytes | Received::Bell => {}
                Received::End => return nothing("the client left in the middle of a command"),
                Received::Silence => {
                    let how = "the client did not go on in time";
                    return Ok(Said::Nothing(Outcome::Slow(how.into())));
                }
                Received::Ending => return nothing("the daemon ends in the middle of a command"),
            }
        }
    }

    /// Says one frame, in one write: the old client reads it with one read.
    pub(super) fn say(&mut self, text: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(text.len() + 5);
        wire::encode_frame(&mut frame, text, self.order.unwrap_or(Order::Little));
        let mut pace = Pace::new(self.talk.config.request_timeout);
        self.talk.connection.send(&frame, &mut pace)
    }
}
