//! The connection between a child and its client. Every wait has a deadline and ends early when the daemon shuts down.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::transport::{Fate, Transport};
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Want};
use crate::sys::signal::Inbox;

/// Bytes per read while one request is expected, a line. Few pages of memory are touched.
const FIRST_READ: usize = 1_536;
/// Bytes per read while many requests are expected.
pub(super) const MOST_READ: usize = 64 * 1024;
/// The lowest rate at which a client may read a long reply, in bytes a second.
const BYTES_A_SECOND: usize = 64 * 1024;
/// The number of bytes beyond a request that are read and discarded before the connection is closed.
const MOST_DISCARDED: usize = 16 << 20;
/// The time limit for discarding them.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// How fast a client must read a reply. It must take some bytes within each `limit`, and the bytes that it takes extend
/// the time for the whole reply at [`BYTES_A_SECOND`].
#[derive(Debug)]
pub(super) struct Pace {
    limit: Duration,
    end: Deadline,
}

impl Pace {
    /// Returns a pace by which a client that takes nothing for `limit` times out.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            end: Deadline::after(limit),
        }
    }

    fn deadline(&self) -> Deadline {
        self.end.min(Deadline::after(self.limit))
    }

    fn took(&mut self, bytes: usize) -> Deadline {
        let micros = bytes as u64 * 1_000_000 / BYTES_A_SECOND as u64;
        self.end = self.end.extended(Duration::from_micros(micros));
        self.deadline()
    }
}

#[derive(Debug)]
pub(super) struct Connection<'t> {
    transport: &'t mut dyn Transport,
    inbox: Inbox,
    /// Bytes per read.
    room: usize,
    /// The last read took all that had arrived.
    drained: bool,
    /// The client has ended its side.
    ended: bool,
    /// The daemon shuts down.
    ending: bool,
}

/// The result of a wait for input from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Bytes,
    /// The client has ended its side: no more input will come.
    End,
    /// Nothing has arrived within the limit.
    Silence,
    /// Nothing has arrived, and the daemon shuts down.
    Ending,
    /// Nothing has arrived, but the bell has rung.
    Bell,
}

impl<'t> Connection<'t> {
    /// Returns the connection over `transport`. `inbox` receives a signal when the daemon shuts down.
    pub(super) fn new(transport: &'t mut dyn Transport, inbox: Inbox) -> Self {
        Self {
            transport,
            inbox,
            room: FIRST_READ,
            drained: false,
            ended: false,
            ending: false,
        }
    }

    /// Appends the client's next bytes to `buffer`, waiting up to `limit` for them.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn receive(
        &mut self,
        buffer: &mut Vec<u8>,
        limit: Duration,
    ) -> io::Result<Received> {
        self.receive_or_hear(buffer, limit, None)
    }

    /// Like [`receive`](Self::receive), for the rest of a request that has begun: a shutdown does not interrupt it, for
    /// the master allows `drain_timeout` for it. Never returns [`Received::Ending`].
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn receive_rest(
        &mut self,
        buffer: &mut Vec<u8>,
        limit: Duration,
    ) -> io::Result<Received> {
        let deadline = Deadline::after(limit);
        loop {
            match self.receive(buffer, deadline.left())? {
                Received::Ending => self.wait_despite_ending(deadline)?,
                received => return Ok(received),
            }
        }
    }

    /// Like [`receive`](Self::receive), but also returns when `bell` is readable.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(super) fn receive_or_hear(
        &mut self,
        buffer: &mut Vec<u8>,
        limit: Duration,
        bell: Option<BorrowedFd<'_>>,
    ) -> io::Result<Received> {
        let deadline = Deadline::after(limit);
        loop {
            // After a read that took everything, another one would most likely fail with EAGAIN: poll first.
            if !std::mem::take(&mut self.drained) || limit.is_zero() {
                // A client that has sent much is likely to send more.
                let room = self.room.max(buffer.len().min(MOST_READ));
                match self.transport.read_onto(buffer, room) {
                    Ok(0) => {
                        self.ended = true;
                        return Ok(Received::End);
                    }
                    Ok(n) => {
                        self.drained = n < room;
                        return Ok(Received::Bytes);
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(e),
                }
            }
            if deadline.passed() {
                return Ok(Received::Silence);
            }
            if self.ending {
                return Ok(Received::Ending);
            }
            if self.wait(Want::Read, deadline, bell)? {
                return Ok(Received::Bell);
            }
        }
    }

    /// Returns whether a client may end its request by sending nothing more.
    pub(super) fn silence_ends_request(&self) -> bool {
        self.transport.silence_ends_request()
    }

    /// Uses large reads from now on, for a client that sends many requests.
    pub(super) fn expect_many(&mut self) {
        self.room = MOST_READ;
    }

    /// Sends each answer without delay from now on.
    ///
    /// # Errors
    /// When the kernel refuses the option.
    pub(super) fn send_at_once(&self) -> io::Result<()> {
        self.transport.send_at_once()
    }

    /// Breaks the connection when the client's kernel acknowledges nothing for `limit`.
    ///
    /// # Errors
    /// When the kernel refuses the option.
    pub(super) fn give_up_after(&self, limit: Duration) -> io::Result<()> {
        self.transport.give_up_after(limit)
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// When the connection is broken; `TimedOut` when the client does not read, or reads too slowly.
    pub(super) fn send(&mut self, bytes: &[u8], pace: &mut Pace) -> io::Result<()> {
        self.send_all(bytes, pace, false)
    }

    /// Like [`send`](Self::send), but for bytes that [`finish`](Self::finish) follows at once. They share a packet with
    /// the end of the stream, so that the client is woken once.
    ///
    /// # Errors
    /// Those of `send`.
    pub(super) fn send_last(&mut self, bytes: &[u8], pace: &mut Pace) -> io::Result<()> {
        self.send_all(bytes, pace, true)
    }

    fn send_all(&mut self, mut bytes: &[u8], pace: &mut Pace, is_last: bool) -> io::Result<()> {
        let mut deadline = pace.deadline();
        while !bytes.is_empty() {
            match self.transport.write(bytes, is_last) {
                Ok(n) => {
                    bytes = &bytes[n..];
                    deadline = pace.took(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if deadline.passed() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    self.wait(Want::Write, deadline, None)?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Closes the connection after the reply. Input beyond the request is read and discarded, within limits: closing a
    /// connection with unread input resets it, which could destroy the reply in transit. With `more_comes`, the client
    /// is known to be still sending.
    pub(super) fn finish(&mut self, more_comes: bool) {
        let mut dropped = Vec::new();
        let mut total = 0;
        let deadline = Deadline::after(DISCARD_TIME);
        let mut wait = more_comes;
        let mut is_open = true;
        while !self.ended && total < MOST_DISCARDED {
            if wait && std::mem::take(&mut is_open) {
                // The client may read until the end of the stream before it stops sending.
                let _ = self.transport.end_writing();
            }
            let limit = if wait {
                deadline.left()
            } else {
                Duration::ZERO
            };
            match self.receive(&mut dropped, limit) {
                Ok(Received::Bytes) => wait = true,
                Ok(_) | Err(_) => break,
            }
            total += dropped.len();
            dropped.clear();
        }
        if is_open {
            // The client need not wait until this process has written the log and exits.
            let _ = self.transport.end_writing();
        }
    }

    /// Ends our side, waits up to `limit`, and returns whether the client has received everything: it has ended its
    /// side, and the transport reports that all bytes and our end were acknowledged. If a client closes or dies with
    /// unread data, its kernel resets a plain connection. If it had ended its side before, only the acknowledgement
    /// counts.
    pub(super) fn delivered(&mut self, limit: Duration) -> bool {
        self.is_delivered(Deadline::after(limit)).unwrap_or(false)
    }

    fn is_delivered(&mut self, deadline: Deadline) -> io::Result<bool> {
        self.transport.end_writing()?;
        let mut dropped = Vec::new();
        let mut total = 0;
        while !self.ended {
            if deadline.passed() || total > MOST_DISCARDED {
                return Ok(false);
            }
            if self.receive_rest(&mut dropped, deadline.left())? == Received::Silence {
                return Ok(false);
            }
            total += dropped.len();
            dropped.clear();
        }
        let mut pause = Duration::from_micros(100);
        loop {
            match self.transport.fate()? {
                Fate::Acknowledged => return Ok(true),
                Fate::Lost => return Ok(false),
                Fate::Pending if deadline.passed() => return Ok(false),
                // poll(2) does not report an acknowledgement. It takes a round trip.
                Fate::Pending => std::thread::sleep(pause.min(deadline.left())),
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn wait_despite_ending(&self, deadline: Deadline) -> io::Result<()> {
        poll::wait(&[(self.transport.fd(), Want::Read)], Some(deadline.left())).map(drop)
    }

    /// Waits for the client, a shutdown or the bell. Returns whether only the bell is ready.
    fn wait(
        &mut self,
        want: Want,
        deadline: Deadline,
        bell: Option<BorrowedFd<'_>>,
    ) -> io::Result<bool> {
        let client = (self.transport.fd(), want);
        if self.ending {
            return poll::wait(&[client], Some(deadline.left())).map(|_| false);
        }
        let mut fds = vec![client, (self.inbox.fd()?, Want::Read)];
        fds.extend(bell.map(|bell| (bell, Want::Read)));
        let ready = poll::wait(&fds, Some(deadline.left()))?;
        if ready.has(1) {
            self.ending = self.inbox.came();
        }
        Ok(bell.is_some() && ready.has(2) && !ready.has(0) && !self.ending)
    }
}
