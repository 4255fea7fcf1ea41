//! The supervisor: a process that starts the helper processes of the daemon and restarts them when they exit.
//!
//! It is forked before the master applies its sandbox, because a helper may need rights that the master gives up. For
//! the same reason the master cannot fork a new one later: the supervisor therefore keeps a *reserve*, a process that
//! does nothing but wait. When the supervisor ends, the master asks the reserve to take over; it becomes the
//! supervisor, and forks the next reserve first. When the reserve ends, the supervisor forks another.
//!
//! The helpers die with the supervisor, and the supervisor and the reserve die with the master.

mod backoff;
mod process;
mod reserve;
mod task;

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use self::backoff::Backoff;
use self::process::Supervision;
use self::reserve::{Reserve, TITLE};
pub(super) use self::task::Task;
use super::logging::{self, PACED};
use crate::sys::clock::Deadline;
use crate::sys::helper::Helper;
use crate::sys::passing;
use crate::sys::poll;
use crate::sys::process::{End, Pid, adopt_orphans, end_child, kill, wait};
use crate::sys::sandbox::Rules;
use crate::sys::submission_queue::SubmissionQueue;

/// How long the master waits for the helpers to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest time that the helpers get to finish when the daemon shuts down.
const MIN_END_TIME: Duration = Duration::from_secs(5);

/// The master's handle to the supervisor.
#[derive(Debug)]
pub(super) struct Supervisor {
    pid: Pid,
    /// Shutting down this side asks the supervisor to end. End of file means that the supervisor has exited. The
    /// supervisor sends each of its reserves over it.
    link: OwnedFd,
    queue: Option<SubmissionQueue>,
    /// The effect on the daemon without the helpers, for the log.
    meanwhile: String,
    backoff: Backoff,
}

impl Supervisor {
    /// Forks the supervisor, which applies `sandbox` to itself, starts a helper for each task, and waits until they are
    /// ready. Must be called while this process has one thread.
    ///
    /// # Errors
    /// Those of `socketpair(2)` and `fork(2)`, and when the supervisor does not become ready.
    pub(super) fn start(tasks: &[Task<'_>], sandbox: Option<Rules<'_>>) -> io::Result<Self> {
        // The reserve becomes a child of this process when the supervisor ends.
        adopt_orphans();
        let (link, its) = passing::pair()?;
        let mut keep = vec![its.as_raw_fd(), logging::descriptor()];
        keep.extend(tasks.iter().flat_map(|task| &task.descriptors));
        let master = Pid::own();
        let supervise = move || Supervision::new(its, tasks, master).begin(sandbox);
        let pid = Helper::new().titled(TITLE).keeping(keep).fork(supervise)?;
        let deadline = Deadline::after(START_TIMEOUT);
        // The first message of the supervisor says that it is ready. End of file means that it has died.
        let says = poll::readable_by(link.as_fd(), deadline)?;
        if !says || passing::receive(link.as_fd())?.is_none() {
            kill(pid);
            wait(pid);
            // A helper may have opened its queue before it was killed.
            let queues = tasks.iter().filter_map(|task| task.queue);
            queues.for_each(SubmissionQueue::close);
            return Err(io::Error::other("it did not get ready"));
        }
        let queue = tasks.iter().find_map(|task| task.queue);
        if let Some(queue) = queue {
            queue.opens_within(deadline.left());
        }
        let meanwhile: Vec<_> = tasks.iter().map(|task| task.meanwhile).collect();
        let mut backoff = Backoff::after(Duration::ZERO);
        backoff.has_started();
        Ok(Self {
            pid,
            link,
            queue,
            meanwhile: meanwhile.join(", and "),
            backoff,
        })
    }

    /// Handles the exit of a process that may be the supervisor, whose helpers have died with it: closes their queue,
    /// and lets the reserve take over. Returns whether there is no supervisor any more.
    pub(super) fn has_ended(&mut self, pid: Pid, end: End) -> bool {
        if self.pid != pid {
            return false;
        }
        if let Some(queue) = self.queue {
            queue.close();
        }
        let what = format!("the supervisor of the helper processes (process {pid}) {end}");
        let meanwhile = &self.meanwhile;
        let pause = self.backoff.has_ended();
        let (reserve, _) = self.receive();
        match reserve.and_then(|reserve| reserve.takes_over(pause).ok()) {
            Some(Reserve { pid, link }) => {
                log::warn!(
                    target: PACED,
                    "{what}: process {pid} replaces it in {pause:?}; until then {meanwhile}"
                );
                (self.pid, self.link) = (pid, link);
                self.backoff.has_started();
                false
            }
            None => {
                log::error!("{what}: until the daemon is started again, {meanwhile}");
                true
            }
        }
    }

    /// Receives the messages of the supervisor. Returns the last reserve in them, which may have ended, and whether
    /// there will be no more.
    fn receive(&self) -> (Option<Reserve>, bool) {
        let mut last = None;
        loop {
            match passing::receive(self.link.as_fd()) {
                Ok(Some((message, link))) => last = Reserve::of(&message, link).or(last),
                Ok(None) => return (last, true),
                // The supervisor has ended with a message unread. Its own messages follow.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {}
                Err(_) => return (last, false),
            }
        }
    }

    /// Clears the busy mark of the child with this slot, which may have died while it waited for a helper.
    pub(super) fn forget(&self, slot: usize) {
        if let Some(queue) = self.queue {
            queue.set_busy(slot, false);
        }
    }

    /// Ends the supervisor and the helpers. Must be called when no child submits work any more. Unless `at_once`, the
    /// helpers get until `deadline`, but at least [`MIN_END_TIME`], to finish. The next start replays the rest of the
    /// journal.
    pub(super) fn end(self, deadline: Deadline, at_once: bool) {
        let (mut reserve, mut closed) = self.receive();
        if !at_once {
            let deadline = deadline.max(Deadline::after(MIN_END_TIME));
            // Without a supervisor, the link is closed already.
            let _ = passing::end_sending(self.link.as_fd());
            while !closed && poll::readable_by(self.link.as_fd(), deadline).unwrap_or(false) {
                let later;
                (later, closed) = self.receive();
                reserve = later.or(reserve);
            }
            if !closed {
                log::warn!("the journal is not empty yet: the next start replays the rest");
            }
        }
        kill(self.pid);
        wait(self.pid);
        if let Some(Reserve { pid, .. }) = reserve {
            end_child(pid);
        }
    }
}
