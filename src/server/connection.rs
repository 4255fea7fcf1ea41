//! One client's connection, as its child sees it: every wait has a deadline, and ends early when the
//! daemon is told to end.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::transport::{Fate, Transport};
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Want};
use crate::sys::signal::Inbox;

/// How much is read with one call where one request is expected: a line, in few pages of memory.
const FIRST_READ: usize = 1_536;
/// And where many are.
pub(super) const MOST_READ: usize = 64 * 1024;
/// For each of so many bytes that a client takes, it gets another second.
const BYTES_A_SECOND: usize = 64 * 1024;
/// How much of what a client says beyond its request is read before the connection is closed.
const MOST_DISCARDED: usize = 16 << 20;
/// And for how long.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// How fast a client must read a reply: a slow reader may be slow, but must take something within the
/// limit, and may not take for ever.
#[derive(Debug)]
pub(super) struct Pace {
    limit: Duration,
    end: Deadline,
}

impl Pace {
    /// A client that takes nothing for as long as `limit` is given up.
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

/// A connection.
#[derive(Debug)]
pub(super) struct Connection<'t> {
    transport: &'t mut dyn Transport,
    inbox: Inbox,
    /// How much is read with one call.
    room: usize,
    /// All that had come was read.
    drained: bool,
    /// The client has ended its side.
    ended: bool,
    /// The daemon was told to end.
    ending: bool,
}

/// What came of waiting for a client to say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// More bytes.
    Bytes,
    /// Nothing, and there will be nothing: the client has ended its side.
    End,
    /// Nothing, for as long as we wanted to wait.
    Silence,
    /// Nothing, and the daemon was told to end.
    Ending,
    /// Nothing, but the bell has rung.
    Bell,
}

impl<'t> Connection<'t> {
    /// The connection over this transport; `inbox` has a signal when the daemon ends.
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

    /// Appends to `buffer` what the client says next.
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

    /// The same, also left when `bell` is readable.
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
            // Where nothing was left the last time, nothing is expected to be there yet.
            if !std::mem::take(&mut self.drained) || limit.is_zero() {
                // A client that has said much is likely to say more.
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

    /// Whether a client that falls silent may have ended its request by that.
    pub(super) fn silence_ends_request(&self) -> bool {
        self.transport.silence_ends_request()
    }

    /// Expects many requests: what has come is read with one call.
    pub(super) fn expect_many(&mut self) {
        self.room = MOST_READ;
    }

    /// Sends each answer at once.
    ///
    /// # Errors
    /// When the kernel does not take that.
    pub(super) fn send_at_once(&self) -> io::Result<()> {
        self.transport.send_at_once()
    }

    /// Gives the client up when its kernel does not acknowledge anything for so long.
    ///
    /// # Errors
    /// When the kernel does not take that.
    pub(super) fn give_up_after(&self, limit: Duration) -> io::Result<()> {
        self.transport.give_up_after(limit)
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// When the connection is broken; `TimedOut` when the client does not read, or too slowly.
    pub(super) fn send(&mut self, bytes: &[u8], pace: &mut Pace) -> io::Result<()> {
        self.send_all(bytes, pace, false)
    }

    /// The same, when [`finish`](Self::finish) follows at once: to the client it is one packet with the end, and not two
    /// that wake it twice.
    ///
    /// # Errors
    /// The same.
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

    /// Closes the connection of a client that has its reply. What it says beyond its request is read
    /// and dropped, within bounds: a connection that is closed with unread input is reset, and that
    /// could destroy the reply on its way. With `more_comes`, the client is known to be still talking.
    pub(super) fn finish(&mut self, more_comes: bool) {
        let mut dropped = Vec::new();
        let mut total = 0;
        let deadline = Deadline::after(DISCARD_TIME);
        let mut wait = more_comes;
        let mut is_open = true;
        while !self.ended && total < MOST_DISCARDED {
            if wait && std::mem::take(&mut is_open) {
                // So that a client that reads until the end of the stream sees it, and the answer before it.
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
            // Now, and not only when the log is written.
            let _ = self.transport.end_writing();
        }
    }

    /// Ends our side and waits until it is known whether the client has received everything: it ends its side, and
    /// the transport says that all was acknowledged, our end included. (The kernel of a client that closes with something
    /// unread, or dies so, resets a plain connection. A client that had ended its side before says nothing by that; for
    /// it, the acknowledgement is all that can be known.)
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
            // Also while the daemon ends: it gives us some seconds.
            match self.receive(&mut dropped, deadline.left())? {
                Received::Silence => return Ok(false),
                Received::Ending => self.wait_despite_ending(deadline)?,
                Received::Bytes | Received::End | Received::Bell => {}
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
                // Nothing to poll for tells of an acknowledgement. It takes a round trip.
                Fate::Pending => std::thread::sleep(pause.min(deadline.left())),
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn wait_despite_ending(&self, deadline: Deadline) -> io::Result<()> {
        poll::wait(&[(self.transport.fd(), Want::Read)], Some(deadline.left())).map(drop)
    }

    /// Waits for the client, the daemon's end, or the bell; whether it was the bell alone.
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
