//! The supervisor: a process that starts the helper processes of the daemon, and starts them again when they end.
//!
//! It is forked before the master lays its sandbox, as a helper may need what the master gives up. Its helpers end with
//! it, and it ends with the master.

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

/// The title of its process.
const TITLE: &str = "droplined: supervisor";
/// How long the master waits until the helpers are ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the helpers may take at least to finish when the daemon ends.
const MIN_END_TIME: Duration = Duration::from_secs(5);
/// A helper that has ended is started again after this time, twice as long each time up to the greater one.
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// A helper that has run for this long is started again after the shortest pause.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// What a helper process does.
pub(super) struct Task<'a> {
    /// The name of the helper in the log.
    pub(super) name: &'static str,
    /// The title of its process.
    pub(super) title: &'static str,
    /// What the daemon does while the helper does not run, for the log.
    pub(super) meanwhile: &'static str,
    /// The descriptors that it needs.
    pub(super) descriptors: Vec<RawFd>,
    /// Its sandbox, if it is to have one.
    pub(super) sandbox: Option<Rules<'a>>,
    /// The queue that it takes its work from: closed when the helper ends, and drained at the end of the daemon. A helper
    /// without a queue is killed then.
    pub(super) queue: Option<SubmissionQueue>,
    /// What it does, until it is to end.
    pub(super) work: Box<dyn Fn() -> Result<(), Box<dyn Error>> + 'a>,
}

/// The master's handle to the supervisor.
#[derive(Debug)]
pub(super) struct Supervisor {
    pid: Pid,
    /// The supervisor sees the end of this stream as the wish that it ends, and ends it when it does.
    link: UnixStream,
    queue: Option<SubmissionQueue>,
    /// What the daemon does without the helpers, for the log.
    meanwhile: String,
}

impl Supervisor {
    /// Forks the supervisor, which starts a helper for each task, and waits until they are ready. Must be called while
    /// there is only one thread.
    ///
    /// # Errors
    /// Those of `socketpair(2)` and `fork(2)`; when it does not get ready.
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
        // It says one byte; the end of the stream is its end.
        let says = poll::readable_by(link.as_fd(), deadline)?;
        if !says || (&link).read(&mut [0])? == 0 {
            process::kill(pid);
            process::wait(pid);
            // A helper may have opened its queue just now.
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

    /// Whether it was this process that has ended; then its helpers are gone as well.
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

    /// The child with this slot was killed, perhaps while it waited for a helper.
    pub(super) fn forget(&self, slot: usize) {
        if let Some(queue) = self.queue {
            queue.set_busy(slot, false);
        }
    }

    /// Lets the helpers finish, when no child has work for them any more: until `deadline`, or for a few seconds at
    /// least. Or ends them `at_once`; then what is in the journal is left for the next start.
    pub(super) fn end(self, deadline: Deadline, at_once: bool) {
        if !at_once {
            let deadline = deadline.max(Deadline::after(MIN_END_TIME));
            let asked = self.link.shutdown(Shutdown::Write);
            let ended = asked.and_then(|()| poll::readable_by(self.link.as_fd(), deadline));
            if !ended.unwrap_or(false) {
                log::warn!("the journal is not emptied yet: the next start goes on with that");
            }
        }
        process::kill(self.pid);
        process::wait(self.pid);
    }
}

/// A helper that is supervised.
struct Supervised<'t, 'a> {
    task: &'t Task<'a>,
    /// Its process, while it runs.
    pid: Option<Pid>,
    /// When it is started again, while it does not run.
    due: Deadline,
    /// When it has run for long enough.
    stable: Deadline,
    /// How long the next pause is.
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

    /// Starts the helper.
    fn start(&mut self) {
        let task = self.task;
        let mut keep = vec![logging::descriptor()];
        keep.extend(&task.descriptors);
        let work = || {
            // The master says what the kernel lacks.
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

    /// Starts the helper if its time has come.
    fn start_if_due(&mut self) {
        if self.pid.is_none() && self.due.passed() {
            self.start();
        }
    }

    /// Notes that its process has ended.
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
                log::warn!(
                    "{name} (process {pid}) {end}: the next start goes on with what is left"
                );
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

    /// Begins a pause, and makes the next one longer; how long it is.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.due = Deadline::after(pause);
        self.pause = RESTART_PAUSE.1.min(2 * pause);
        pause
    }

    /// Lets the helper end, when it has done what is left to do.
    fn end(&mut self) {
        match (self.task.queue, self.pid) {
            (Some(queue), pid) => {
                // The one before may have left something.
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

/// What the supervisor does, until the master ends the stream.
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
