//! The supervisor: a process that starts the helper processes of the daemon and restarts them when they exit.
//!
//! It is forked before the master applies its sandbox, because a helper may need rights that the master gives up. The
//! helpers die with the supervisor, and the supervisor dies with the master.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::logging;
use crate::sys::clock::Deadline;
use crate::sys::helper::Helper;
use crate::sys::poll::{self, Want};
use crate::sys::process::{self, End, Pid};
use crate::sys::sandbox::{self, Rules};
use crate::sys::signal::{Inbox, Signal};
use crate::sys::stdio;
use crate::sys::submission_queue::SubmissionQueue;

const TITLE: &str = "droplined: supervisor";
/// How long the master waits for the helpers to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest time that the helpers get to finish when the daemon shuts down.
const MIN_END_TIME: Duration = Duration::from_secs(5);
/// The shortest and the longest pause before a helper is restarted. The pause doubles each time.
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// A helper that has run for this long is restarted after the shortest pause.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// The description of a helper process.
pub(super) struct Task<'a> {
    /// The helper's name in the log.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// The effect on the daemon while the helper does not run, for the log.
    pub(super) meanwhile: &'static str,
    /// The descriptors that it keeps open.
    pub(super) descriptors: Vec<RawFd>,
    pub(super) sandbox: Option<Rules<'a>>,
    /// The queue that it serves. The queue is closed when the helper exits and drained when the daemon shuts down. A
    /// helper without a queue is killed at shutdown.
    pub(super) queue: Option<SubmissionQueue>,
    /// Its work. Returns when the helper is to exit.
    pub(super) work: Box<dyn Fn() -> Result<(), Box<dyn Error>> + 'a>,
}

/// The master's handle to the supervisor.
#[derive(Debug)]
pub(super) struct Supervisor {
    pid: Pid,
    /// Shutting down this side asks the supervisor to end. End of file means that the supervisor has exited.
    link: UnixStream,
    queue: Option<SubmissionQueue>,
    /// The effect on the daemon without the helpers, for the log.
    meanwhile: String,
}

impl Supervisor {
    /// Forks the supervisor, which starts a helper for each task, and waits until they are ready. Must be called while
    /// this process has one thread.
    ///
    /// # Errors
    /// Those of `socketpair(2)` and `fork(2)`, and when the supervisor does not become ready.
    pub(super) fn start(tasks: &[Task<'_>]) -> io::Result<Self> {
        let (link, its) = UnixStream::pair()?;
        let mut keep = vec![its.as_raw_fd(), logging::descriptor()];
        keep.extend(tasks.iter().flat_map(|task| &task.descriptors));
        let supervise = || {
            supervise(&its, tasks)
                .inspect_err(|e| log::error!("the supervisor of the helper processes fails: {e}"))
                .is_ok()
        };
        let pid = Helper::new().titled(TITLE).keeping(keep).fork(supervise)?;
        drop(its);
        let deadline = Deadline::after(START_TIMEOUT);
        // The supervisor writes one byte when it is ready. End of file means that it has died.
        let says = poll::readable_by(link.as_fd(), deadline)?;
        if !says || (&link).read(&mut [0])? == 0 {
            process::kill(pid);
            process::wait(pid);
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
        Ok(Self {
            pid,
            link,
            queue,
            meanwhile: meanwhile.join(", and "),
        })
    }

    /// Returns whether `pid` is the supervisor. If so, its helpers have died with it: closes their queue.
    pub(super) fn has_ended(&self, pid: Pid, end: End) -> bool {
        if self.pid != pid {
            return false;
        }
        if let Some(queue) = self.queue {
            queue.close();
        }
        log::error!(
            "the supervisor of the helper processes (process {pid}) {end}: until the daemon is started again, {}",
            self.meanwhile
        );
        true
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
        if !at_once {
            let deadline = deadline.max(Deadline::after(MIN_END_TIME));
            let asked = self.link.shutdown(Shutdown::Write);
            let ended = asked.and_then(|()| poll::readable_by(self.link.as_fd(), deadline));
            if !ended.unwrap_or(false) {
                log::warn!("the journal is not empty yet: the next start replays the rest");
            }
        }
        process::kill(self.pid);
        process::wait(self.pid);
    }
}

/// A supervised helper.
struct Supervised<'t, 'a> {
    task: &'t Task<'a>,
    /// Its process, while it runs.
    pid: Option<Pid>,
    /// When to restart it, while it does not run.
    due: Deadline,
    /// When it has run for [`STABLE_AFTER`].
    stable: Deadline,
    /// The next pause before a restart.
    pause: Duration,
}

impl<'t, 'a> Supervised<'t, 'a> {
    fn new(task: &'t Task<'a>) -> Self {
        let now = Deadline::after(Duration::ZERO);
        Self {
            task,
            pid: None,
            due: now,
            stable: now,
            pause: RESTART_PAUSE.0,
        }
    }

    fn start(&mut self) {
        let task = self.task;
        let mut keep = vec![logging::descriptor()];
        keep.extend(&task.descriptors);
        let work = || {
            // The master logs which parts of the sandbox the kernel lacks.
            let laid = task.sandbox.map_or(Ok(Vec::new()), sandbox::lay);
            laid.map_err(Into::into)
                .and_then(|_| (task.work)())
                .inspect_err(|e| log::error!("{} cannot go on: {e}", task.name))
                .is_ok()
        };
        match Helper::new().titled(task.title).keeping(keep).fork(work) {
            Ok(pid) => {
                self.pid = Some(pid);
                self.stable = Deadline::after(STABLE_AFTER);
            }
            Err(e) => {
                let pause = self.next_pause();
                log::warn!("cannot start {}: {e}; trying again in {pause:?}", task.name);
            }
        }
    }

    /// Starts the helper when its pause is over.
    fn start_if_due(&mut self) {
        if self.pid.is_none() && self.due.passed() {
            self.start();
        }
    }

    /// Records that the process has exited, and schedules a restart unless the daemon shuts down (`is_last`).
    fn has_ended(&mut self, pid: Pid, end: End, is_last: bool) {
        self.pid = None;
        if let Some(queue) = self.task.queue {
            queue.close();
        }
        let Task {
            name, meanwhile, ..
        } = self.task;
        if is_last {
            if self.task.queue.is_some() && end != End::Status(0) {
                log::warn!("{name} (process {pid}) {end}: the next start continues with the rest");
            }
            return;
        }
        if self.stable.passed() {
            self.pause = RESTART_PAUSE.0;
        }
        let pause = self.next_pause();
        log::warn!(
            "{name} (process {pid}) {end}: it is started again in {pause:?}; until then {meanwhile}"
        );
    }

    /// Begins a pause and returns its length. Makes the next one longer.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.due = Deadline::after(pause);
        self.pause = RESTART_PAUSE.1.min(2 * pause);
        pause
    }

    /// Asks the helper to finish the work in its queue and exit. A helper without a queue is killed.
    fn end(&mut self) {
        match (self.task.queue, self.pid) {
            (Some(queue), pid) => {
                // The previous process may have left work behind.
                if pid.is_none() {
                    self.start();
                }
                queue.drain();
            }
            (None, Some(pid)) => process::kill(pid),
            (None, None) => {}
        }
    }
}

/// Runs the supervisor until the master shuts down the stream and all helpers have exited.
fn supervise(link: &UnixStream, tasks: &[Task<'_>]) -> io::Result<()> {
    stdio::release_input_and_output()?;
    sandbox::no_new_privileges()?;
    let ends = Inbox::of(&[Signal::SIGCHLD]);
    let mut helpers: Vec<_> = tasks.iter().map(Supervised::new).collect();
    let mut ending = false;
    helpers.iter_mut().for_each(Supervised::start);
    (&*link).write_all(b".")?;
    loop {
        let mut fds = vec![(ends.fd()?, Want::Read)];
        fds.extend((!ending).then_some((link.as_fd(), Want::Read)));
        let paused = helpers.iter().filter(|helper| helper.pid.is_none());
        let limit = paused.map(|helper| helper.due.left()).min();
        let ready = poll::wait(&fds, limit.filter(|_| !ending))?;
        ends.came();
        while let Some((pid, end)) = process::reap() {
            if let Some(helper) = helpers.iter_mut().find(|helper| helper.pid == Some(pid)) {
                helper.has_ended(pid, end, ending);
            }
        }
        if !ending && ready.has(1) {
            ending = true;
            helpers.iter_mut().for_each(Supervised::end);
        }
        if !ending {
            helpers.iter_mut().for_each(Supervised::start_if_due);
        } else if helpers.iter().all(|helper| helper.pid.is_none()) {
            return Ok(());
        }
    }
}
