//! The process that writes the store's journal: forked once, at the start.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use super::logging;
use crate::store::spool::Spool;
use crate::sys::clock::Deadline;
use crate::sys::handover::Handover;
use crate::sys::process::{self, Other, Pid, Side};
use crate::sys::signal::Blocked;
use crate::sys::title;

/// What ps shows.
const TITLE: &str = "droplined: journal";
/// How long the master waits until it is ready.
const START: Duration = Duration::from_secs(30);
/// How long it may take at least to empty the journal when the daemon ends.
const LAST: Duration = Duration::from_secs(5);

/// The process, while it runs.
#[derive(Debug)]
pub(super) struct Writer {
    pid: Pid,
    handover: Handover,
}

impl Writer {
    /// Forks it, for this spool. Must be called while there is only one thread, with the sandbox laid. Where it cannot be
    /// had, children do without.
    pub(super) fn start(spool: &mut Spool) -> Option<Self> {
        let mut start = || {
            let handover = spool.share()?;
            let master = Pid::own();
            // What is typed at the terminal is for the master.
            let blocked = Blocked::all()?;
            match process::fork()? {
                Side::Child => {
                    blocked.for_good();
                    let spool = &*spool;
                    let written =
                        panic::catch_unwind(AssertUnwindSafe(|| write(spool, handover, master)));
                    process::exit_now(i32::from(!written.unwrap_or(false)))
                }
                Side::Parent(pid) => {
                    drop(blocked);
                    // By then it has let go of what is the master's.
                    if !handover.opens_within(START) {
                        process::kill(pid);
                        process::wait(pid);
                        // It may have opened just now.
                        handover.close();
                        return Err(io::Error::other("it has not got ready"));
                    }
                    Ok(Self { pid, handover })
                }
            }
        };
        start()
            .inspect_err(|e: &io::Error| {
                log::warn!(
                    "cannot start the writer of the journal: {e}; each child syncs by itself"
                );
            })
            .ok()
    }

    /// Whether it was this process that has ended; then nobody waits for it any more.
    pub(super) fn was(&self, pid: Pid) -> bool {
        if self.pid == pid {
            self.handover.close();
        }
        self.pid == pid
    }

    /// The child in this place has been killed, perhaps while it waited.
    pub(super) fn forget(&self, place: usize) {
        self.handover.set_busy(place, false);
    }

    /// Lets it empty the journal and end, when nobody leaves anything any more: until `deadline`, or for a few seconds at
    /// least. Or it ends at once, with what is in the journal left for the next start.
    pub(super) fn end(self, deadline: Deadline, at_once: bool) {
        let deadline = deadline.max(Deadline::after(LAST));
        if !at_once {
            self.handover.ask_to_end();
            let number = u32::try_from(self.pid.number()).unwrap_or(0);
            if let Ok(other) = Other::of(number) {
                let mut ended = false;
                // A signal ends a wait.
                while !ended && !deadline.passed() {
                    ended = other.ends_within(deadline.left());
                }
                if !ended {
                    log::warn!("the journal is not emptied yet: the next start goes on with that");
                }
            }
        }
        process::kill(self.pid);
        process::wait(self.pid);
    }
}

/// What the process does; whether that went well.
fn write(spool: &Spool, handover: Handover, master: Pid) -> bool {
    if !process::end_with(master) {
        return false;
    }
    let mut keep = spool.descriptors_to_write();
    keep.push(logging::descriptor());
    process::close_all_but(&mut keep);
    title::set(&[TITLE]);
    spool
        .write_journal(handover)
        .inspect_err(|e| log::error!("{e}"))
        .is_ok()
}
