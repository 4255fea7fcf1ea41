//! The transport of a connection: a plain socket, later also TLS.
//!
//! A transport decides what ends a request and what counts as delivered. On a plain socket, silence or the end of the
//! client's side may end a request, and bytes that its kernel has acknowledged are delivered. If ends of stream are
//! authenticated, [`read_onto`](Transport::read_onto) fails at one that is not, silence ends no request, and
//! [`fate`](Transport::fate) is [`Fate::Lost`] unless the client has confirmed its end after ours.

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

pub(super) use crate::sys::socket::Fate;
use crate::sys::socket::{self, Stream};

/// A byte stream from and to one client. No call blocks (it fails with `WouldBlock` instead), and each call fails when
/// the connection is broken.
pub(super) trait Transport: fmt::Debug {
    /// Returns the descriptor for poll(2).
    fn fd(&self) -> BorrowedFd<'_>;

    /// Appends up to `room` bytes to `buffer` and returns their number: fewer than `room` when no more have arrived
    /// yet, 0 when the client has ended its side.
    fn read_onto(&mut self, buffer: &mut Vec<u8>, room: usize) -> io::Result<usize>;

    /// Sends some of `bytes` and returns their number. With `is_last`, [`end_writing`](Self::end_writing) follows at
    /// once, and both may share a packet.
    fn write(&mut self, bytes: &[u8], is_last: bool) -> io::Result<usize>;

    /// Ends our side: the client sees the end of the stream after all bytes that were sent.
    fn end_writing(&mut self) -> io::Result<()>;

    /// Returns the fate of all bytes that were sent, after both sides have ended.
    fn fate(&mut self) -> io::Result<Fate>;

    /// Returns whether a client may end its request by sending nothing more.
    fn silence_ends_request(&self) -> bool;

    /// Sends each write at once instead of collecting small ones, if the transport has that choice.
    fn send_at_once(&self) -> io::Result<()> {
        Ok(())
    }

    /// Breaks the connection when the client's kernel acknowledges nothing for `limit`, if that can be detected.
    fn give_up_after(&self, _limit: Duration) -> io::Result<()> {
        Ok(())
    }

    /// Breaks an idle connection when the client's kernel does not answer for `limit`, if that can be detected.
    fn check_for_life(&self, _limit: Duration) -> io::Result<()> {
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

    fn check_for_life(&self, limit: Duration) -> io::Result<()> {
        socket::check_for_life(self, limit)
    }
}
