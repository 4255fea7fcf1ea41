//! What the supervisor and its reserve do.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use super::backoff::Backoff;
use super::reserve::{Reserve, TITLE, now};
use super::task::Task;
use crate::server::logging::{self, PACED};
use crate::sys::helper::Helper;
use crate::sys::passing;
use crate::sys::poll::{self, Want};
use crate::sys::process::{self, End, Pid};
use crate::sys::sandbox::{self, Rules};
use crate::sys::signal::{Inbox, Signal};
use crate::sys::stdio;
use crate::sys::title;

const RESERVE_TITLE: &str = "droplined: supervisor (reserve)";

/// A supervised helper.
struct Supervised<'t, 'a> {
    task: &'t Task<'a>,
    /// Its process, while it runs.
    pid: Option<Pid>,
    backoff: Backoff,
}

impl<'t, 'a> Supervised<'t, 'a> {
    /// Returns a helper that is due after `pause`.
    fn after(pause: Duration, task: &'t Task<'a>) -> Self {
        Self {
            task,
            pid: None,
            backoff: Backoff::after(pause),
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
                self.backoff.has_started();
            }
            Err(e) => {
                let pause = self.backoff.pause();
                log::warn!(target: PACED, "cannot start {}: {e}; trying again in {pause:?}", task.name);
            }
        }
    }

    /// Starts the helper when its pause is over.
    fn start_if_due(&mut self) {
        if self.pid.is_none() && self.backoff.is_due() {
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
        let pause = self.backoff.has_ended();
        log::warn!(
            target: PACED,
            "{name} (process {pid}) {end}: it is started again in {pause:?}; until then {meanwhile}"
        );
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

/// The work of the supervisor.
pub(super) struct Supervision<'t, 'a> {
    /// The way to the master.
    link: OwnedFd,
    tasks: &'t [Task<'a>],
    master: Pid,
    /// The reserve, while it runs.
    reserve: Option<Pid>,
    reserve_backoff: Backoff,
}

impl<'t, 'a> Supervision<'t, 'a> {
    pub(super) fn new(link: OwnedFd, tasks: &'t [Task<'a>], master: Pid) -> Self {
        Self {
            link,
            tasks,
            master,
            reserve: None,
            reserve_backoff: Backoff::after(Duration::ZERO),
        }
    }

    /// Runs the first supervisor of the daemon, in this sandbox. Returns whether it has ended as the master asked.
    pub(super) fn begin(self, sandbox: Option<Rules<'_>>) -> bool {
        let confined = stdio::release_input_and_output()
            .and_then(|_| sandbox::no_new_privileges())
            .and_then(|()| sandbox.map_or(Ok(Vec::new()), sandbox::lay));
        log_error(confined.and_then(|_| self.supervise(Duration::ZERO)))
    }

    /// Supervises the helpers, which are started after `pause`, until the master shuts down the link and all helpers
    /// have exited.
    fn supervise(mut self, pause: Duration) -> io::Result<()> {
        let ends = Inbox::of(&[Signal::SIGCHLD]);
        let mut helpers: Vec<_> = self
            .tasks
            .iter()
            .map(|task| Supervised::after(pause, task))
            .collect();
        let mut ending = false;
        // The first message says that the helpers have started.
        helpers.iter_mut().for_each(Supervised::start_if_due);
        passing::send(self.link.as_fd(), b".", None, now())?;
        loop {
            if !ending {
                self.keep_a_reserve();
                helpers.iter_mut().for_each(Supervised::start_if_due);
            } else if helpers.iter().all(|helper| helper.pid.is_none()) {
                return Ok(());
            }
            let mut fds = vec![(ends.fd()?, Want::Read)];
            fds.extend((!ending).then_some((self.link.as_fd(), Want::Read)));
            let paused = helpers.iter().filter(|helper| helper.pid.is_none());
            let paused = paused.map(|helper| &helper.backoff);
            let paused = paused.chain(self.reserve.is_none().then_some(&self.reserve_backoff));
            let limit = paused.map(Backoff::left).min();
            let ready = poll::wait(&fds, limit.filter(|_| !ending))?;
            ends.came();
            while let Some((pid, end)) = process::reap() {
                if let Some(helper) = helpers.iter_mut().find(|helper| helper.pid == Some(pid)) {
                    helper.has_ended(pid, end, ending);
                } else if self.reserve.take_if(|reserve| *reserve == pid).is_some() {
                    self.reserve_backoff.has_ended();
                }
            }
            if !ending && ready.has(1) {
                ending = true;
                helpers.iter_mut().for_each(Supervised::end);
            }
        }
    }

    /// Forks a reserve if there is none and its pause is over, and sends it to the master, which ends it.
    fn keep_a_reserve(&mut self) {
        if self.reserve.is_some() || !self.reserve_backoff.is_due() {
            return;
        }
        match self.fork_reserve() {
            Ok(pid) => {
                self.reserve = Some(pid);
                self.reserve_backoff.has_started();
            }
            Err(e) => {
                let pause = self.reserve_backoff.pause();
                log::warn!(
                    target: PACED,
                    "cannot start a reserve of the supervisor: {e}; trying again in {pause:?}"
                );
            }
        }
    }

    fn fork_reserve(&self) -> io::Result<Pid> {
        let (link, its) = passing::pair()?;
        let mut keep = vec![its.as_raw_fd(), logging::descriptor()];
        keep.extend(self.tasks.iter().flat_map(|task| &task.descriptors));
        let next = Self::new(its, self.tasks, self.master);
        let pid = Helper::new()
            .titled(RESERVE_TITLE)
            .keeping(keep)
            .outliving_its_parent()
            .fork(move || next.stand_by())?;
        // Where this fails, the reserve ends, because its link is closed.
        Reserve { pid, link }.announce(self.link.as_fd())?;
        Ok(pid)
    }

    /// Waits until the master asks this process to take over, then supervises the helpers.
    fn stand_by(self) -> bool {
        log_error(self.wait_for_the_master().and_then(|pause| match pause {
            Some(pause) => {
                title::set(&[TITLE]);
                // The master has adopted this process.
                process::end_with(self.master);
                self.supervise(pause)
            }
            None => Ok(()),
        }))
    }

    /// Returns the pause before the helpers are to be started; `None` when the daemon ends.
    fn wait_for_the_master(&self) -> io::Result<Option<Duration>> {
        loop {
            poll::wait(&[(self.link.as_fd(), Want::Read)], None)?;
            match passing::receive(self.link.as_fd()) {
                Ok(None) => return Ok(None),
                Ok(Some((message, _))) => {
                    let millis = message.try_into().map(u64::from_le_bytes);
                    return Ok(Some(Duration::from_millis(millis.unwrap_or_default())));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Logs the error, if any. Returns whether `result` is a success.
fn log_error(result: io::Result<()>) -> bool {
    result
        .inspect_err(|e| log::error!("the supervisor of the helper processes fails: {e}"))
        .is_ok()
}
