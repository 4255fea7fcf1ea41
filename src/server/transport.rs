//! What a connection runs over: a plain socket, and later TLS beside it.
//!
//! A transport decides what an end and a delivery are worth. On a plain socket a client may end its request by falling
//! silent or by ending its side, and what its kernel has acknowledged counts as delivered. Where ends are authenticated,
//! [`read_onto`](Transport::read_onto) fails at an end that is not, silence ends no request, and
//! [`fate`](Transport::fate) is [`Fate::Lost`] unless the client itself has confirmed its end after ours.

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

pub(super) use crate::sys::socket::Fate;
use crate::sys::socket::{self, Stream};

/// A way for bytes from and to one client. No call waits (`WouldBlock`: nothing can be done now), and each fails when the
/// connection is broken.
pub(super) trait Transport: fmt::Debug {
    /// What to wait for in poll(2).
    fn fd(&self) -> BorrowedFd<'_>;

    /// Appends what has come to `buffer`, at most `room` bytes, and returns how many: fewer than `room` when nothing more
    /// has come yet, 0 when the client has ended its side.
    fn read_onto(&mut self, buffer: &mut Vec<u8>, room: usize) -> io::Result<usize>;

    /// Sends some of `bytes`; how many. With `is_last`, [`end_writing`](Self::end_writing) follows at once, and both may
    /// go in one packet.
    fn write(&mut self, bytes: &[u8], is_last: bool) -> io::Result<usize>;

    /// Ends our side: the client sees the end of the stream behind all that was sent.
    fn end_writing(&mut self) -> io::Result<()>;

    /// What has become of all that was sent, after both sides have ended.
    fn fate(&mut self) -> io::Result<Fate>;

    /// Whether a client that falls silent may have ended its request by that.
    fn silence_ends_request(&self) -> bool;

    /// Sends each write at once, and not together with the next, where that is a choice: for conversations.
    fn send_at_once(&self) -> io::Result<()> {
        Ok(())
    }

    /// Breaks the connection when the client's kernel has not acknowledged anything for `limit`, where that can be seen.
    fn give_up_after(&self, _limit: Duration) -> io::Result<()> {
        Ok(())
    }
}

/// A plain socket, TCP or Unix.
impl Transport for Stream {
    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn read_onto(&mut self, buffer: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        Stream::read_onto(self, buffer, room)
    }

    fn write(&mut self, bytes: &[u8], is_last: bool) -> io::Result<usize> {
        if is_last {
            self.write_last(bytes)
        } else {
            (&*self).write(bytes)
        }
    }

    fn end_writing(&mut self) -> io::Result<()> {
        Stream::end_writing(self)
    }

    fn fate(&mut self) -> io::Result<Fate> {
        socket::fate(self)
    }

    fn silence_ends_request(&self) -> bool {
        true
    }

    fn send_at_once(&self) -> io::Result<()> {
        socket::send_at_once(self)
    }

    fn give_up_after(&self, limit: Duration) -> io::Result<()> {
        socket::give_up_after(self, limit)
    }
}
