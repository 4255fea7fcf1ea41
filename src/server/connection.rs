//! The connection between a child and its client. Every wait has a deadline and ends early when the daemon shuts down.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::phase::Phase;
use super::scoreboard::ChildStatus;
use super::transport::{Fate, Transport};
use crate::sys::clock::{Deadline, monotonic_millis};
use crate::sys::poll::{self, Want};
use crate::sys::signal::{Inbox, Signal};

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
/// The longest pause between two checks whether a reply was acknowledged.
const LONG_PAUSE: Duration = Duration::from_millis(50);
/// The signal by which the master asks for the place of the child.
pub(super) const YIELD: Signal = Signal::SIGUSR2;

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

    /// Returns how long the client has taken beyond what the bytes that it took allow.
    fn behind(&self) -> Duration {
        self.limit.saturating_sub(self.end.left())
    }

    fn took(&mut self, bytes: usize) -> Deadline {
        let micros = bytes as u64 * 1_000_000 / BYTES_A_SECOND as u64;
        self.end = self.end.extended(Duration::from_micros(micros));
        self.deadline()
    }
}

/// Returns the time of the monotonic clock this long ago, in milliseconds.
fn ago(span: Duration) -> u64 {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    monotonic_millis().saturating_sub(span)
}

#[derive(Debug)]
pub(super) struct Connection<'t> {
    transport: &'t mut dyn Transport,
    inbox: Inbox,
    /// Where each wait is reported to the master.
    status: ChildStatus,
    /// What a wait for input is for, and since when.
    expected: (Phase, Instant),
    /// Bytes per read.
    room: usize,
    /// The last read took all that had arrived.
    drained: bool,
    /// The client has ended its side.
    ended: bool,
    /// The daemon shuts down.
    ending: bool,
    /// The master needs the place of this child for another connection.
    yielding: bool,
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
    /// Nothing has arrived, and the master has decided that the client has waited long enough.
    Evicted,
    /// Nothing has arrived, but the bell has rung.
    Bell,
}

impl<'t> Connection<'t> {
    /// Returns the connection over `transport`. `inbox` receives a signal when the daemon shuts down, and one when the
    /// master needs the place. `status` tells the master about each wait.
    pub(super) fn new(transport: &'t mut dyn Transport, inbox: Inbox, status: ChildStatus) -> Self {
        Self {
            transport,
            inbox,
            status,
            expected: (Phase::Silent, Instant::now()),
            room: FIRST_READ,
            drained: false,
            ended: false,
            ending: false,
            yielding: false,
        }
    }

    /// Declares what the client is expected to send from now on.
    pub(super) fn expect(&mut self, what: Phase) {
        self.expect_since(what, Instant::now());
    }

    /// Like [`expect`](Self::expect), since this time.
    pub(super) fn expect_since(&mut self, what: Phase, since: Instant) {
        self.expected = (what, since);
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
        self.receive_until(buffer, limit, None, false)
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
        self.receive_until(buffer, limit, None, true)
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
        self.receive_until(buffer, limit, bell, false)
    }

    /// Receives bytes. With `has_begun`, a shutdown does not interrupt the wait.
    fn receive_until(
        &mut self,
        buffer: &mut Vec<u8>,
        limit: Duration,
        bell: Option<BorrowedFd<'_>>,
        has_begun: bool,
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
            if self.yielding {
                return Ok(Received::Evicted);
            }
            if self.ending && !has_begun {
                return Ok(Received::Ending);
            }
            let (phase, since) = self.expected;
            self.status.waits(phase, ago(since.elapsed()));
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

    /// Makes the kernel ask an idle client's kernel from time to time whether the connection still exists, and break it
    /// if there is no answer for `limit`.
    ///
    /// # Errors
    /// When the kernel refuses the option.
    pub(super) fn check_for_life(&self, limit: Duration) -> io::Result<()> {
        self.transport.check_for_life(limit)
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
                    if deadline.passed() || self.yielding {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    self.status.waits(Phase::Reply, ago(pace.behind()));
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
        self.expect(Phase::Reply);
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
        self.expect(Phase::Reply);
        let mut dropped = Vec::new();
        let mut total = 0;
        while !self.ended {
            if deadline.passed() || total > MOST_DISCARDED {
                return Ok(false);
            }
            match self.receive_rest(&mut dropped, deadline.left())? {
                Received::Silence | Received::Evicted => return Ok(false),
                _ => {}
            }
            total += dropped.len();
            dropped.clear();
        }
        let mut pause = Duration::from_micros(100);
        loop {
            match self.transport.fate()? {
                Fate::Acknowledged => return Ok(true),
                Fate::Lost => return Ok(false),
                Fate::Pending if deadline.passed() || self.yielding => return Ok(false),
                // poll(2) does not report an acknowledgement. It takes a round trip.
                Fate::Pending if pause < LONG_PAUSE => std::thread::sleep(pause),
                Fate::Pending => self.pause(pause.min(deadline.left()))?,
            }
            pause = (pause * 2).min(LONG_PAUSE);
        }
    }

    /// Waits for this time, or until the master needs the place.
    fn pause(&mut self, pause: Duration) -> io::Result<()> {
        let (phase, since) = self.expected;
        self.status.waits(phase, ago(since.elapsed()));
        let ready = poll::wait(&[(self.inbox.fd()?, Want::Read)], Some(pause))?;
        if ready.has(0) {
            self.read_inbox();
        }
        self.status.works();
        Ok(())
    }

    /// Reads the signals that have arrived.
    fn read_inbox(&mut self) {
        let came = self.inbox.take();
        self.yielding |= came.contains(YIELD);
        self.ending |= came.contains(Signal::SIGINT) || came.contains(Signal::SIGTERM);
    }

    /// Waits for the client, a shutdown or the bell. Returns whether only the bell is ready.
    fn wait(
        &mut self,
        want: Want,
        deadline: Deadline,
        bell: Option<BorrowedFd<'_>>,
    ) -> io::Result<bool> {
        let client = (self.transport.fd(), want);
        let mut fds = vec![client, (self.inbox.fd()?, Want::Read)];
        fds.extend(bell.map(|bell| (bell, Want::Read)));
        let ready = poll::wait(&fds, Some(deadline.left()));
        self.status.works();
        let ready = ready?;
        if ready.has(1) {
            self.read_inbox();
        }
        let ends = self.ending || self.yielding;
        Ok(bell.is_some() && ready.has(2) && !ready.has(0) && !ends)
    }
}
